# frozen_string_literal: true

module RedisIPC
  class Probes
    # Looks at the handlers of each open server: whether its threads are there, and whether all of them hang.
    # @api private
    class Liveness
      # @param patience [Float] seconds that a handler may run
      def initialize(patience)
        @patience = patience
      end

      # @return [Array<String>] a line for each server that only a restart would help; none for one that has no handler
      def problems
        Sessions.open.filter_map { |session| problem(session) if session.handlers.positive? }
      end

      private

      def problem(session)
        name = Sessions.title(session)
        return "#{name}: its handler threads are gone" unless session.workers_alive?

        running = session.running.to_a
        return if running.size < session.handlers || !running.all? { |one| hangs?(session, one) }

        "#{name}: all #{running.size} handlers hang, the oldest for #{running.map(&:age).max.round} s" \
          "#{place(running.max_by(&:age))}"
      rescue NotConnectedError
        # It was closed meanwhile.
      end

      def hangs?(session, running)
        running.age > @patience && session.overdue?(running)
      end

      def place(running)
        frame = ApplicationFrame.of(running.thread.backtrace || [])
        ", at #{frame}" if frame
      end
    end
  end
end
