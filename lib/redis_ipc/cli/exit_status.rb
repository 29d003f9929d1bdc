# frozen_string_literal: true

module RedisIPC
  module CLI
    # The exit statuses, and which error means which.
    # @api private
    module ExitStatus
      FINE = 0
      FINDING = 1
      USAGE = 2
      REJECTED = 3
      UNCLAIMED = 4
      UNKNOWN = 5
      UNREACHABLE = 6
      REFUSED = 7
      # 128 and the number of the signal, as shells have it.
      INTERRUPTED = 130
      PIPE_CLOSED = 141

      # What each means, for the help.
      TEXTS = {
        FINE => "fine",
        FINDING => "there is something to look at, or what was named is not there",
        USAGE => "the command was called in a wrong way",
        REJECTED => "the request was rejected",
        UNCLAIMED => "nobody took the request; it did not run",
        UNKNOWN => "there was no answer, and it may have run",
        UNREACHABLE => "Redis cannot be reached; nothing was sent",
        REFUSED => "Redis refused a command"
      }.freeze
      # The statuses of every verb that connects to Redis.
      OF_REDIS = [UNREACHABLE, REFUSED].freeze
      private_constant :TEXTS

      class << self
        # @param status [Integer]
        # @return [String] what it means
        def text(status)
          TEXTS.fetch(status)
        end

        # @param error [Exception]
        # @param verb [Class] whose `run` raised it
        # @return [Integer]
        def of(error, verb)
          return of_call(error, verb) if error.is_a?(CallError) && !simple.key?(error.class)

          special(error, verb) || simple.find { |kind, _| error.is_a?(kind) }&.last || FINDING
        end

        private

        # The errors that always mean the same. They are there once the gem is loaded.
        def simple
          { CommandError => REFUSED, ThreadLimitError => FINDING, RejectedError => REJECTED, JSONRPC::Error => REJECTED,
            ConfigurationError => USAGE, ContentError => USAGE, ArgumentError => USAGE }
        end

        def special(error, verb)
          case error
          when ConfigurationError then FINDING if verb.application?
          # An answer was there, and cannot be read.
          when MalformedEntryError then UNKNOWN if verb.statuses.include?(UNKNOWN)
          end
        end

        # Of a verb that only reads, a lost connection leaves nothing unknown.
        def of_call(error, verb)
          return UNCLAIMED if error.outcome == :unclaimed

          error.outcome == :unknown && verb.statuses.include?(UNKNOWN) ? UNKNOWN : UNREACHABLE
        end
      end
    end
  end
end
