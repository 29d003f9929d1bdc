# frozen_string_literal: true

module RedisIPC
  module Events
    # Reports what was trimmed from a stream. Subscribers are told each time. The logger is told once a minute if a
    # group keeps the stream long, events were lost, or Redis refused.
    # @api private
    module Trimming
      # The least seconds between two log lines about one stream.
      EVERY = 60
      # The most streams whose last log line is remembered.
      STREAMS = 1000
      private_constant :EVERY, :STREAMS

      @told = {}
      @mutex = Mutex.new

      class << self
        # @param stream [String]
        # @param facts [Array(Integer, Integer, String, String), nil] how many entries were removed, at most how many of
        #   them were not acknowledged, the group that keeps the stream long, and why Redis refused
        # @return [void]
        def tell(stream, facts)
          return if facts.nil?

          removed, lost, kept_by, refused = facts
          Instrumentation.publish(:trim, { stream: stream, removed: removed, lost: lost, group: kept_by }.compact)
          text = warning(stream, lost, kept_by, refused)
          ErrorReport.note("redis_ipc: #{text}") if text && due?(stream)
        end

        # Replaces the lock. In a child it may be held for ever by a thread that only the parent has.
        def after_fork
          @mutex = Mutex.new
        end

        private

        def warning(stream, lost, kept_by, refused)
          name = LogText.of(stream)
          return "the stream #{name} could not be trimmed: #{LogText.line(refused)}" if refused

          if lost.positive?
            "up to #{lost} entries of the stream #{name} were trimmed that a group had not acknowledged (unread:)"
          elsif kept_by
            "the group #{LogText.of(kept_by)} has not acknowledged old entries, and so keeps the stream #{name} at " \
              "more than twice its limit: start its consumers, or delete it with XGROUP DESTROY"
          end
        end

        def due?(stream)
          @mutex.synchronize do
            now = Monotonic.now
            return false if @told.key?(stream) && now - @told[stream] < EVERY

            @told.clear if @told.size >= STREAMS
            @told[stream] = now
            true
          end
        end
      end

      ProcessHooks.on_fork { after_fork }
    end
    private_constant :Trimming
  end
end
