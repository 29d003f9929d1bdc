# frozen_string_literal: true

require "json"
require_relative "application"
require_relative "logs_options"

module RedisIPC
  module CLI
    # `redis_ipc events`: looks at what consumers of PostgreSQL's log need and use.
    # @api private
    class Logs
      MARKS = { ok: "ok     ", warning: "warning", error: "error  " }.freeze
      COLUMNS = %w[slot database status pid confirmed lag retained consumer].freeze
      private_constant :MARKS, :COLUMNS

      class << self
        # @param arguments [Array<String>]
        # @return [Integer] the exit status
        def start(arguments)
          options = LogsOptions.new(arguments)
          return CLI.say(options.usage) if options.help
          return new(options).public_send(options.verb) if %w[doctor slots].include?(options.verb)

          what = options.verb ? "unknown verb #{options.verb.inspect} of events" : "name a verb of events"
          CLI.refuse(what, options.usage)
        rescue OptionParser::ParseError => e
          CLI.refuse(e.message, LogsOptions.usage)
        end
      end

      # @param options [LogsOptions]
      def initialize(options)
        @options = options
        @announcer = Announcer.new
      end

      # Prints what each consumer lacks.
      # @return [Integer] the exit status
      def doctor
        looking do |setups|
          found = setups.to_h { |setup| [setup, Events::Hosting.findings(setup)] }
          @options.json ? print_json(found.map { |setup, findings| row(setup, findings) }) : tell(found)
          found.values.flatten.any? { |finding| finding.level == :error } ? 1 : 0
        end
      end

      # Prints the slots.
      # @return [Integer] the exit status
      def slots
        looking do |setups|
          slots = Events::Hosting.slots(setups)
          @options.json ? print_json(slots.map(&:to_h)) : table(slots)
          0
        end
      end

      private

      def looking
        application = Application.of(@options, @announcer)
        application.boot
        setups = Events::Hosting.of_logs(application.choose(@options.only))
        return fail_with("there is no consumer of PostgreSQL's log in #{application.place}") if setups.empty?

        yield setups
      rescue StandardError => e
        raise unless defined?(RedisIPC::Error) && e.is_a?(RedisIPC::Error)

        fail_with(e.message)
      end

      def row(setup, findings)
        { consumer: setup.name, slot: setup.core.dig(:wal, :slot), server: setup.redis,
          findings: findings.map(&:to_h) }
      end

      def print_json(rows)
        @announcer.info(JSON.pretty_generate(rows))
      end

      def tell(found)
        found.each do |setup, findings|
          @announcer.info("#{setup.name}: #{setup.title} (#{setup.redis})")
          findings.each do |finding|
            @announcer.info("  #{MARKS.fetch(finding.level)}  #{finding.text}")
            finding.statements.each { |statement| @announcer.info("           #{statement};") }
          end
        end
      end

      def table(slots)
        rows = [COLUMNS, *slots.map { |slot| cells(slot) }]
        widths = rows.transpose.map { |column| column.map(&:size).max }
        rows.each { |row| @announcer.info(row.zip(widths).map { |cell, width| cell.ljust(width) }.join("  ").rstrip) }
      end

      def cells(slot)
        [slot.slot, slot.database, slot.status || "-", slot.pid ? slot.pid.to_s : "-", slot.confirmed || "-",
         bytes(slot.lag), bytes(slot.retained), slot.consumers.empty? ? "-" : slot.consumers.join(", ")]
      end

      def bytes(count)
        count ? ByteSize.of(count) : "-"
      end

      def fail_with(text)
        @announcer.error("redis_ipc: #{text}")
        1
      end
    end
  end
end
