# frozen_string_literal: true

module RedisIPC
  # Before Ruby 3.3, a signal is noticed by whichever thread sleeps in Ruby itself; where every thread waits in native
  # code, as ours do, Ctrl-C would have to wait for an answer (seen). So while anything is connected, one thread sleeps.
  # @api private
  module SignalWatch
    NEEDED = Gem::Version.new(RUBY_VERSION) < Gem::Version.new("3.3")
    private_constant :NEEDED

    class << self
      # Starts the thread, if this process has none.
      def start
        return if !NEEDED || @thread&.alive?

        @thread = Thread.new { sleep }
        @thread.name = "redis_ipc signals"
      end

      # Ends it.
      def stop
        @thread&.kill&.join
        @thread = nil
      end
    end
  end
  private_constant :SignalWatch
end
