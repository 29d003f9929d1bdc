# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # Stands in for the engine in a thread of a worker process: events come from the process that forked it, and
        # verdicts go there.
        # @api private
        class Link
          # @param connection [Connection]
          def initialize(connection)
            @connection = connection
            @pid = Process.pid
          end

          # Waits for events.
          # @return [Array<Wire::Event>, nil] nil if no more come
          def take(_most = nil)
            message = @connection.read
            @taken = !message.nil?
            Wire.read_events(message) if message
          end

          # (see #take)
          def take_batch(_size, _within)
            take
          end

          # @return [Boolean] whether no event is to be begun any more
          def stopped?
            # Nothing is written before the last events were settled, so this is the end.
            @connection.readable?
          end

          def done(events)
            tell(Wire.done(events))
          end

          def retry(event, wait)
            tell(Wire.retry(event, wait))
          end

          def bury(event, reason)
            tell(Wire.bury(event, reason))
          end

          def give_back(events)
            tell(Wire.back(events))
          end

          # Says that all verdicts on the events of the last `take` were told.
          def ended
            tell(Wire.ended) if @taken
            @taken = false
          end

          private

          def tell(verdict)
            return if @pid == Process.pid && @connection.write(verdict)

            raise NotConnectedError.new("the process that took the event is gone, or this is its fork",
                                        outcome: :not_sent)
          end
        end
      end
    end
  end
end
