# frozen_string_literal: true

module RedisIPC
  module Events
    # Runs an object with `process(event)` as the handler of events. It is frozen.
    # @api private
    class Processing
      OPTIONS = %i[cdc].freeze
      private_constant :OPTIONS

      class << self
        # Checks the declaration.
        # @param who [String] the class
        # @param said [Array(Object, Hash), nil] what it declares
        # @return [Processing, nil]
        # @raise [ConfigurationError]
        def of(who, said)
          return if said.nil?

          processor, options = said
          Check.known(who, "processor", options, OPTIONS)
          unless fits?(processor)
            Check.refuse("the processor of #{who} must have process(event), got #{shown(processor)}")
          end

          cdc = options[:cdc]
          cdc = cdc.nil? ? Cdc.processor?(processor) : Settings.check_flag(:cdc, cdc)
          Check.refuse("cdc: true of #{who} needs the gem cdc-core: require \"cdc/core\"") if cdc && !Cdc.loaded?

          new(processor, cdc)
        end

        private

        def fits?(processor)
          processor.respond_to?(:process) || (processor.is_a?(Class) && processor.method_defined?(:process))
        end

        def shown(processor)
          processor.is_a?(Module) ? processor.inspect : "a #{processor.class}"
        end
      end

      # @param processor [Object, Class] for a class without `process` of its own, each event gets a new instance
      # @param cdc [Boolean] whether it gets events of the gem cdc-core
      def initialize(processor, cdc)
        @processor = processor
        @cdc = cdc
        @makes = !processor.respond_to?(:process)
        freeze
      end

      # Runs the processor. If it returns an object whose `failure?` is true, as the results of cdc-core, the event
      # fails.
      # @param event [ChangeEvent]
      # @return [void]
      def call(event)
        result = (@makes ? @processor.new : @processor).process(@cdc ? event.to_cdc : event)
        return unless result.respond_to?(:failure?) && result.failure?

        error = result.error if result.respond_to?(:error)
        event.fail!(error.is_a?(Exception) ? error : "the processor returned a failure without an exception")
      end
    end
    private_constant :Processing
  end
end
