# frozen_string_literal: true

module RedisIPC
  module CLI
    # A verb that looks at a system from outside, or acts on it, by {RedisIPC::Admin}.
    # @api private
    class AdminVerb < Verb
      # @return [void]
      def finish
        @admin&.close
      end

      private

      # @return [Admin]
      def admin
        @admin ||= Admin.new(**names, postgres: given[:postgres] || [], redis_options: redis_options, name: "redis_ipc")
      end

      # Returns what is looked at: what is named, or else the streams of requests on which somebody is alive.
      # @return [Hash{Symbol => Array<String>}]
      # @raise [UsageError] if nothing is named, and no such stream is there
      def names
        found = { streams: named(:stream) }
        found.update(queues: named(:queue), consumers: named(:events)) if given.key?(:queue)
        found.values.all?(&:empty?) ? { streams: found_streams } : found
      end

      def found_streams
        looking = Admin.new(redis_options: redis_options, name: "redis_ipc")
        streams = looking.known_streams
        return streams if streams.any?

        raise UsageError, "nobody is alive on any stream of #{looking.address}; name what to look at: --stream NAME, " \
                          "or what --help says"
      ensure
        looking&.close
      end

      def named(option)
        given[option] ? Array(given[option]) : ENV.fetch("REDIS_IPC_#{option.upcase}", "").split(",")
      end

      # Prints values of {Admin}: as JSON all that they have, else a row for each.
      # @param values [Array<Admin::Value>]
      # @param titles [Array<String>]
      # @param none [String] what is said if there are none
      # @param spare [Array<String>] the titles that a narrow terminal need not show
      # @yieldparam value [Admin::Value]
      # @yieldreturn [Array] the cells of its row
      # @return [void]
      def show(values, titles, none:, spare: [], &block)
        return terminal.json(values.map(&:to_h), lines: !given[:watch].nil?) if terminal.json?

        terminal.say(values.empty? ? none : terminal.table(titles, values.map(&block), spare: spare))
      end

      # @return [Table::Cell, nil]
      def cell(value, color)
        Table::Cell.new(value, color)
      end

      # @param count [Integer, nil]
      # @return [Table::Cell, Integer, nil] a number other than 0 stands out
      def alarming(count, color = :red)
        count.to_i.positive? ? cell(count, color) : count
      end

      # @return [String, nil]
      def busy_of(one)
        "#{one.busy || "?"}/#{one.handlers}" if one.handlers
      end

      # @return [Array<String, nil>] the percentiles 50, 95 and 99
      def percentiles(histogram)
        [0.5, 0.95, 0.99].map { |share| Units.duration(histogram&.p(share)) }
      end

      # @param time [Time, nil]
      # @return [String, nil]
      def clock(time)
        time&.getlocal&.strftime("%F %T")
      end

      # @return [String] who acts, for those who ask why
      def actor
        require "etc"
        require "socket"
        given[:by] || "#{Etc.getlogin || Etc.getpwuid&.name || Process.uid} on #{Socket.gethostname}"
      end
    end
  end
end
