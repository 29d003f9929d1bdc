# frozen_string_literal: true

module RedisIPC
  module Testing
    # Rails's CurrentAttributes, of a handler that runs in the thread of whoever asks. Over Redis it would have its own.
    # @api private
    module CurrentAttributes
      class << self
        # Puts the asker's aside while the block runs. They are not reset: what the application does then would be the
        # asker's loss.
        def apart(&block)
          defined?(ActiveSupport::CurrentAttributes) ? put_aside(&block) : yield
        end

        private

        def put_aside
          kept = instances.dup
          instances.clear
          yield
        ensure
          instances.replace(kept) if kept
        end

        # Of this thread (or fiber), by class. Rails has no public way to them all.
        def instances
          ActiveSupport::CurrentAttributes.send(:current_instances)
        end
      end
    end
    private_constant :CurrentAttributes
  end
end
