# frozen_string_literal: true

require "active_support/log_subscriber"

module RedisIPC
  module OnRails
    # Writes to Rails's log: answers as info, calls as debug, failures as warnings. It never logs content.
    class LogSubscriber < ActiveSupport::LogSubscriber
      # @param event [ActiveSupport::Notifications::Event]
      def request(event)
        payload = event.payload
        debug { "  #{title("IPC #{asked(payload)}")} #{result(payload)} #{time(payload)}#{ids(payload)}" }
      end

      # @param event [ActiveSupport::Notifications::Event]
      def handle(event)
        payload = event.payload
        failed = payload[:error] && " with #{payload[:error].class}"
        handled = "#{handled(payload)}#{failed} #{time(payload)}"
        case payload[:status]
        when "dropped", "late" then warn { "Handled #{handled}#{obstacle(payload)}" }
        when "rejected" then info { "Rejected #{handled}" }
        when nil then info { "Handled #{handled}#{", not answered yet" if payload[:entry]}" }
        else info { "Handled #{handled}" }
        end
      end

      # @param event [ActiveSupport::Notifications::Event]
      def event(event)
        payload = event.payload
        text = "#{consumed(payload)} #{time(payload)}"
        return info { "Handled #{text}" } unless payload[:error]

        warn { "Handled #{text}, which failed with #{payload[:error].class}: #{payload[:status]}" }
      end

      # @param event [ActiveSupport::Notifications::Event]
      def timeout(event)
        payload = event.payload
        warn { "IPC #{asked(payload)} was not answered #{time(payload)}: #{payload[:outcome]}#{ids(payload)}" }
      end

      # @param event [ActiveSupport::Notifications::Event]
      def retry(event)
        payload = event.payload
        warn do
          "IPC request #{LogText.of(payload[:id])} from #{LogText.of(payload[:from])} may run again: " \
            "delivery #{payload[:deliveries]}, #{time(payload, "after")}"
        end
      end

      # @param event [ActiveSupport::Notifications::Event]
      def dead_letter(event)
        payload = event.payload
        what = payload[:consumer] ? "Event" : "IPC request"
        place = payload[:consumer] ? place(payload) : payload[:queue] || payload[:group]
        warn do
          [what, payload[:id]&.then { |id| LogText.of(id) }, "is a dead letter of", place, time(payload, "after")]
            .compact.join(" ")
        end
      end

      # @param event [ActiveSupport::Notifications::Event]
      def reconnect(event)
        payload = event.payload
        what = payload[:consumer] ? "The consumer of" : "IPC"
        warn { "#{what} #{payload[:queue] || place(payload)} is connected again #{time(payload, "after")}" }
      end

      private

      def title(words)
        color(words, CYAN, **bold)
      end

      # Rails 7.1 made it a keyword.
      def bold
        ActiveSupport.gem_version >= Gem::Version.new("7.1") ? { bold: true } : {}
      end

      # JSON-RPC publishes only methods that are served, so their names are the application's own.
      def handled(payload)
        return "#{payload[:method]} of #{payload[:queue]}" if payload[:method]

        "#{event_name(payload[:entry].content)} for #{LogText.of(payload[:from])}"
      end

      def consumed(payload)
        return "#{payload[:size]} events of #{place(payload)}" if payload[:events]

        type = payload[:type]&.then { |text| LogText.of(text) }
        "#{["event", type, payload[:id]].compact.join(" ")} of #{place(payload)}, attempt #{payload[:attempt]}"
      end

      def place(payload)
        payload.values_at(:stream, :group).compact.join("/")
      end

      # Returns why the answer does not reach its asker. A stream drops a late answer. JSON-RPC sends it, and drops an
      # answer without a reply list.
      def obstacle(payload)
        return ", too late: its deadline had passed" if payload[:status] == "late"
        return ", too late: the answer was dropped" if payload[:entry]

        ": the answer was dropped, since the request names no reply list of this queue"
      end

      def asked(payload)
        return "#{payload[:queue]} #{payload[:method] || "a batch of #{payload[:batch].size}"}" if payload[:queue]

        [LogText.of(payload[:to].to_s), event_name(payload[:content])].reject(&:empty?).join(" ")
      end

      # Returns the event of a channel. A plain stream has none.
      def event_name(content)
        LogText.of(content.is_a?(Hash) ? (content[:event] || content["event"]).to_s : "")
      end

      # Shows the ids by which the answering process tags its lines.
      def ids(payload)
        ids = { "id" => payload[:id], "request_id" => payload[:correlation_id] }.compact
        " (#{ids.map { |name, id| "#{name} #{LogText.of(id.to_s)}" }.join(", ")})" unless ids.empty?
      end

      def result(payload)
        payload[:status] || payload[:outcome] || payload[:error].class
      end

      def time(payload, preposition = "in")
        return if payload[:duration].nil?

        "#{preposition} #{(payload[:duration] * 1000).round(1)}ms"
      end
    end
  end
end
