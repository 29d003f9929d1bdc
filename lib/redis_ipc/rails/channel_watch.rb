# frozen_string_literal: true

module RedisIPC
  module OnRails
    # While code can be reloaded: lets Rails reload it as soon as a channel's file is new, changed or gone, so that the
    # channel answers at once. Rails itself looks for changes when a request comes, and none comes to a channel that is
    # not connected yet.
    # @api private
    class ChannelWatch
      # Seconds between two looks at the files.
      EVERY = 0.5
      private_constant :EVERY

      # @param files [ChannelFiles]
      # @param reloads [#call] how often the channels have been reloaded
      def initialize(files, &reloads)
        @files = files
        @reloads = reloads
      end

      # Starts the thread, if this process has none and reloads code.
      def start
        return if @thread&.alive? || ::Rails.application.config.cache_classes

        @seen = @files.times
        @thread = Thread.new { look while sleep(EVERY) }
        @thread.name = "redis_ipc watches channels"
      end

      def stop
        @thread&.kill
      end

      private

      def look
        times = @files.times
        return if times == @seen

        before = @reloads.call
        ::Rails.application.reloader.wrap { nil }
        # Where Rails is told of changes by the system, that may take a moment.
        @seen = times unless @reloads.call == before
      rescue StandardError, ScriptError => e
        # Whoever asks is told, too.
        @seen = times
        ::Rails.logger&.error("redis_ipc: the channels cannot be loaded: #{e.class}: #{e.message}")
      end
    end
  end
end
