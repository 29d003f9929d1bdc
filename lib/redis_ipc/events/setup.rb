# frozen_string_literal: true

module RedisIPC
  module Events
    # What a consumer class says of itself and the options of `start`, checked, as one started consumer needs them.
    # It is frozen.
    # @api private
    class Setup
      THREADS = 5
      ATTEMPTS = 5
      # What a class says itself.
      ELSEWHERE = { threads: "concurrency threads: 5", from: "stream \"name\", from: :beginning",
                    batch_size: "batch size: 500" }.freeze
      private_constant :THREADS, :ATTEMPTS, :ELSEWHERE

      # @return [String]
      attr_reader :name, :stream, :group
      # @return [Hash] the options for the core
      attr_reader :core
      # @return [Hash{Symbol => #call}] the callables of each login
      attr_reader :callables
      # @return [Concurrency]
      attr_reader :concurrency
      # @return [Array(Integer, Float), nil] the size of batches, and the seconds that one may take to fill
      attr_reader :batch
      # @return [RetryPolicy]
      attr_reader :policy
      # @return [EntryFormat]
      attr_reader :format
      # @return [Invoker]
      attr_reader :invoker
      # @return [Middleware]
      attr_reader :middleware
      # @return [#call, nil]
      attr_reader :on_error, :resource
      # @return [Object, nil] the consumer's own logger
      attr_reader :logger
      # @return [Boolean]
      attr_reader :reconnect_after_fork

      # @param state [ConsumerState]
      # @param given [Hash] the options of `start`
      # @raise [ConfigurationError]
      def initialize(state, given)
        @name = state.name
        read_source(state)
        read_handlers(state)
        @on_error = state.said(:on_error)
        @resource = state.said(:resource)
        @middleware = Middleware.new.tap { |list| state.links.each { |link| list.add(link) } }
        read_options(state, given.dup)
        freeze
      end

      # @return [Boolean] whether events are handled in an order
      def ordered?
        false
      end

      # Shows no passwords.
      # @return [String]
      def inspect
        "#<#{self.class} of #{name}>"
      end

      private

      def read_source(state)
        @stream, options = Words.stream(name, *(state.said(:stream) || [nil, {}]))
        @group = options[:group]
        @from = options[:from]
        @format = EntryFormat.new(@stream, json: options[:json], type: options[:type])
        Words.order(name, *(state.said(:order) || [:none, {}]))
      end

      def read_handlers(state)
        batch = state.said(:batch)
        @batch = Words.batch(name, batch) if batch
        @invoker = Invoker.new(state.consumer_class, state.handlers)
        Check.refuse("#{name} handles nothing: define call(event), or on(type) { |event| }") if @invoker.empty?
        return unless @batch

        Check.refuse("#{name} has batches, which go to call(events): on(type) is for single events") if @invoker.types?
      end

      def read_options(state, given)
        @logger = Settings.check_logger(given.delete(:logger))
        @reconnect_after_fork = Check.flag(:reconnect_after_fork, given.delete(:reconnect_after_fork))
        @concurrency = Concurrency.of(name, state.said(:concurrency) || { threads: THREADS })
        rules = state.rules.flat_map { |action, classes, options| RuleWords.rules(name, action, classes, options) }
        @policy = RetryPolicy.new(rules, RuleWords.attempts(given.fetch(:attempts, ATTEMPTS)))
        @core, @callables = Settings.for_core(for_core(given))
        Native::EventConsumer.check_options(@core)
      end

      # The core gives up on an event only where no rule would try it again: its processes died with it.
      def for_core(given)
        word = given.keys.find { |key| ELSEWHERE.key?(key) }
        Check.refuse("#{word}: is no option of start: say #{ELSEWHERE[word]}") if word
        redis = given.fetch(:redis_options) { RedisIPC.configuration.redis_options }
        options = given.merge(redis_options: redis, from: @from, threads: concurrency.handlers,
                              attempts: policy.most_attempts)
        @batch ? options.merge(batch_size: @batch.first) : options
      end
    end
    private_constant :Setup
  end
end
