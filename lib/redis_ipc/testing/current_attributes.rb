# frozen_string_literal: true

module RedisIPC
  module Testing
    # Separates Rails's CurrentAttributes of an inline handler from those of the asker, whose thread it runs in. Over
    # Redis the handler would have its own.
    # @api private
    module CurrentAttributes
      class << self
        # Sets the asker's attributes aside while the block runs. They are not reset, because the application's reset
        # callbacks would change the asker's state.
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

        # Returns the attributes of this thread (or fiber), by class. Rails has no public method for that.
        def instances
          ActiveSupport::CurrentAttributes.send(:current_instances)
        end
      end
    end
    private_constant :CurrentAttributes
  end
end
