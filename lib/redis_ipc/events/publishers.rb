# frozen_string_literal: true

module RedisIPC
  module Events
    # The publishers of this process: one for each Redis, opened when something is first published to it.
    # @api private
    module Publishers
      @open = {}
      @mutex = Mutex.new

      class << self
        # @param redis_options [Hash]
        # @yieldparam publisher [Publisher]
        # @return [Object] what the block returns
        def with(redis_options)
          publisher = fetch(redis_options)
          yield publisher
        rescue NotConnectedError
          # The end of the process, or `RedisIPC.disconnect`, closed it just before. Nothing was sent.
          raise if publisher.nil? || publisher.open?

          yield fetch(redis_options)
        end

        # Replaces the lock. In a child it may be held for ever by a thread that only the parent has.
        def after_fork
          @mutex = Mutex.new
        end

        private

        def fetch(redis_options)
          found = @open[redis_options]
          return found if found&.open?

          @mutex.synchronize do
            found = @open[redis_options]
            found&.open? ? found : connect(redis_options)
          end
        end

        def connect(redis_options)
          key = redis_options.dup.freeze
          publisher = Publisher.new(key) { |closed| @open.delete(key) if @open[key].equal?(closed) }
          @open[key] = publisher
        end
      end

      ProcessHooks.on_fork { after_fork }
    end
    private_constant :Publishers
  end
end
