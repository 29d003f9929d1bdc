# frozen_string_literal: true

module RedisIPC
  # Keeps one thread asleep in Ruby while anything is connected. Before Ruby 3.3 only a thread that sleeps in Ruby
  # itself notices a signal. Our threads wait in native code, so Ctrl-C would have to wait for an answer (seen).
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

      # Ends the thread.
      def stop
        @thread&.kill&.join
        @thread = nil
      end
    end
  end
  private_constant :SignalWatch
end
