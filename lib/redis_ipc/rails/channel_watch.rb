# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Watches the channels' files while code can be reloaded, and lets Rails reload it as soon as one is new, changed or
    # gone. Rails itself looks for changes when a request comes, and no request comes to a channel that is not connected
    # yet.
    # @api private
    class ChannelWatch
      # Seconds between two looks at the files.
      EVERY = 0.5
      # The looks after which a change is given up on. Rails ignores one that makes a file older than it was.
      PATIENCE = 10
      private_constant :EVERY, :PATIENCE

      # @param files [ChannelFiles]
      # @param reloads [#call] returns how often the channels have been reloaded
      def initialize(files, &reloads)
        @files = files
        @reloads = reloads
      end

      # Starts the thread, if this process has none and reloads code.
      def start
        return if @thread&.alive? || ::Rails.application.config.cache_classes

        note(@files.times)
        @thread = Thread.new { look while sleep(EVERY) }
        @thread.name = "redis_ipc watches channels"
      end

      def stop
        @thread&.kill
      end

      private

      def look
        times = @files.times
        return @counted = @reloads.call if times == @seen

        ::Rails.application.reloader.wrap { nil }
        # A request may have reloaded the code first. Where the system tells Rails of changes, that may take a moment.
        note(times) if @reloads.call != @counted || (@looks += 1) >= PATIENCE
      rescue StandardError, ScriptError => e
        # A process that asks is told of the error, too.
        note(times)
        ::Rails.logger&.error("redis_ipc: the channels cannot be loaded: #{e.class}: #{e.message}")
      end

      def note(times)
        @seen = times
        @counted = @reloads.call
        @looks = 0
      end
    end
  end
end
