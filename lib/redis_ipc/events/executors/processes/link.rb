# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # Replaces the engine in a thread of a worker process. Events come from the parent process, and verdicts go
        # there.
        # @api private
        class Link
          # @param connection [Connection]
          def initialize(connection)
            @connection = connection
            @pid = Process.pid
            # The events without a verdict, with their places.
            @left = {}
          end

          # Waits for events.
          # @return [Array<Wire::Event>, nil] nil if no more come
          def take(_most = nil)
            message = @connection.read
            return unless message

            events = Wire.read_events(message)
            @left = events.to_h { |event| [event.place, true] }
            events
          end

          # (see #take)
          def take_batch(_size, _within)
            take
          end

          # @return [Boolean] whether no event may be begun any more
          def stopped?
            # The parent writes nothing before the last events are settled, so readable means that the connection has
            # ended.
            @connection.readable?
          end

          def done_one(event)
            done([event])
          end

          def done(events)
            tell(Wire.done(events), events)
          end

          def retry(event, wait)
            tell(Wire.retry(event, wait), [event])
          end

          def bury(event, reason)
            tell(Wire.bury(event, reason), [event])
          end

          def give_back(events)
            events = events.select { |event| @left.key?(event.place) }
            tell(Wire.back(events), events) unless events.empty?
          end

          def skip(events)
            tell(Wire.skip(events), events)
          end

          def refuse(events)
            tell(Wire.refuse(events), events)
          end

          # If there are events of the last `take` without a verdict, says that none follows.
          def ended
            tell(Wire.ended, []) unless @left.empty?
          end

          private

          def tell(verdict, events)
            events.each { |event| @left.delete(event.place) }
            return if @pid == Process.pid && @connection.write(verdict)

            raise NotConnectedError.new("the process that took the event is gone, or this is its fork",
                                        outcome: :not_sent)
          end
        end
      end
    end
  end
end
