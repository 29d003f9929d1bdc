# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Watches the files of one kind of class while code can be reloaded, and lets Rails reload it as soon as one is new,
    # changed or gone. Rails itself looks for changes when a request comes, and no request comes to a channel that is
    # not connected yet.
    # @api private
    class FileWatch
      # Seconds between two looks at the files.
      EVERY = 0.5
      # The looks after which a change is given up on. Rails ignores one that makes a file older than it was.
      PATIENCE = 10
      private_constant :EVERY, :PATIENCE

      # @param files [ClassFiles]
      # @param what [String] "channels" or "consumers"
      # @param placement [Placement] knows how often the classes have been reloaded, and whether they have to be again
      def initialize(files, what, placement)
        @files = files
        @what = what
        @placement = placement
      end

      # Starts the thread, if this process has none and reloads code.
      def start
        return if @thread&.alive? || ::Rails.application.config.cache_classes

        note(@files.times)
        @thread = Thread.new { look while sleep(EVERY) }
        @thread.name = "redis_ipc watches #{@what}"
      end

      def stop
        @thread&.kill
      end

      private

      def look
        times = @files.times
        return @counted = @placement.reloads if times == @seen && !@placement.outdated?

        # What failed to load may have been mended in a file that is in another folder.
        ::Rails.application.reloader.wrap { @placement.catch_up }
        @said = nil
        # A request may have reloaded the code first. Where the system tells Rails of changes, that may take a moment.
        note(times) if @placement.reloads != @counted || (@looks += 1) >= PATIENCE
      rescue StandardError, ScriptError => e
        # A process that asks is told of the error, too.
        note(times)
        say("#{e.class}: #{e.message}")
      end

      def say(text)
        ::Rails.logger&.error("redis_ipc: the #{@what} cannot be loaded: #{text}") unless text == @said
        @said = text
      end

      def note(times)
        @seen = times
        @counted = @placement.reloads
        @looks = 0
      end
    end
  end
end
