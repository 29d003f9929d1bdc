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
      # Looks at a change of which Rails makes nothing: a file may be older than before, which Rails does not count.
      PATIENCE = 10
      private_constant :EVERY, :PATIENCE

      # @param files [ChannelFiles]
      # @param reloads [#call] how often the channels have been reloaded
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
        # A request may have reloaded them first. Where Rails is told of changes by the system, that may take a moment.
        note(times) if @reloads.call != @counted || (@looks += 1) >= PATIENCE
      rescue StandardError, ScriptError => e
        # Whoever asks is told, too.
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
