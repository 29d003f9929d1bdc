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
            # The places of the events that no verdict was told of.
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

          # @return [Boolean] whether no event is to be begun any more
          def stopped?
            # Nothing is written before the last events were settled, so this is the end.
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

          # Says that no verdict follows on the events of the last `take`, if there are some without one.
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
