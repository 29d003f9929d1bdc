# frozen_string_literal: true

module RedisIPC
  module Events
    # The checked declarations of a consumer class and options of `start`, as one started consumer needs them. It is
    # frozen, except for the code: when a framework has reloaded the class, the code of the new class replaces that.
    # @api private
    class Setup
      THREADS = 5
      # The options of `start`.
      OPTIONS = %i[redis_options logger attempts lease remember_ids prefetch prefetch_bytes max_event_size dead_letters
                   reconnect_after_fork].freeze
      # An example of each declaration, for error messages.
      STREAM = 'stream "name", group: "name", from: :beginning, json: "payload", type: "event"'
      ORDER = 'order :key, by: "order_id"'
      ELSEWHERE = {
        stream: STREAM, group: STREAM, from: STREAM, json: STREAM, type: STREAM,
        order: ORDER, by: ORDER, lanes: "order :key, lanes: 64", partitions: "order :key, partitions: 16",
        holds_keys: "order :key, then: :hold_key", then: "order :key, then: :hold_key",
        batch: "batch size: 500", batch_size: "batch size: 500",
        on_transaction: "on_transaction { |transaction| ... }", transactions: "on_transaction { |transaction| ... }",
        **%i[concurrency threads fibers processes ractors].to_h { |word| [word, "concurrency threads: 5"] },
        **%i[retry_on discard_on].to_h { |word| [word, "#{word} IOError"] },
        **%i[on_error on_loss around_event].to_h { |word| [word, "#{word} { |...| ... }"] },
        forward: "forward to: \"name\"", to: "forward to: \"name\"",
        exactly_once: "exactly_once ActiveRecord::Base", resource: "resource { ... }", processor: "processor ...",
        live: 'channel "name"', wal: 'wal url, slot: "name"'
      }.freeze
      # What runs for an event. Each handler reads it when it begins, because a reload may have replaced it.
      Code = Struct.new(:format, :forwarding, :invoker, :middleware, :policy, :on_error, :on_loss, :exactly_once)
      private_constant :THREADS, :OPTIONS, :STREAM, :ORDER, :ELSEWHERE, :Code

      # @return [String]
      attr_reader :name
      # @return [StreamSource, LiveSource, WalSource]
      attr_reader :source
      # @return [Hash] the options for the core
      attr_reader :core
      # @return [Hash] the server, as given to `start`
      attr_reader :redis_options
      # @return [Hash{Symbol => #call}] the callables for the user name and the password
      attr_reader :callables
      # @return [Concurrency]
      attr_reader :concurrency
      # @return [Array(Integer, Float), nil] the size of batches, and the seconds that one may take to fill
      attr_reader :batch
      # @return [Class] what handles the events that are taken together
      attr_reader :delivery
      # @return [#call, nil]
      attr_reader :resource
      # @return [String] the server, without credentials
      attr_reader :redis
      # @return [Object, nil] the consumer's own logger
      attr_reader :logger
      # @return [Boolean]
      attr_reader :reconnect_after_fork

      # @param state [ConsumerState]
      # @param given [Hash] the options of `start`
      # @raise [ConfigurationError]
      def initialize(state, given)
        @name = state.name
        code = Code.new
        @current = [code]
        read_source(state, code)
        code.forwarding ? read_forwarding(state, code) : read_handlers(state, code)
        read_surroundings(state, code)
        @resource = state.said(:resource)
        read_options(state, code, given.dup)
        code.freeze
        freeze
      end

      # @return [String] the stream, the names of the channels, or the database and the slot
      def stream
        source.name
      end

      # @return [String, nil] nil if the source is no stream
      def group
        source.group
      end

      # @return [Boolean] whether the source is no stream, so that Redis keeps no events
      def live?
        source.live?
      end

      # @return [String] the name of the source in messages
      def title
        source.title
      end

      # @return [String] the order in which events are handled: `"none"`, `"key"` or `"source"`; of messages also
      #   `"channel"`
      def order
        source.order
      end

      # @return [Boolean] whether events are handled in an order
      def ordered?
        order != "none"
      end

      # @return [Boolean] whether a dead letter stops the later events of its key
      def holds_keys?
        source.holds_keys?
      end

      # @return [Integer, nil] the number of partitions
      def partitions
        source.partitions
      end

      # @return [SourceFormat]
      def format
        @current[0].format
      end

      # @return [Forwarding, nil] the stream into which the changes of a log are written, instead of to a handler
      def forwarding
        @current[0].forwarding
      end

      # @return [Invoker]
      def invoker
        @current[0].invoker
      end

      # @return [Middleware]
      def middleware
        @current[0].middleware
      end

      # @return [RetryPolicy]
      def policy
        @current[0].policy
      end

      # @return [#call, nil]
      def on_error
        code.on_error
      end

      # @return [#call, nil]
      def on_loss
        code.on_loss
      end

      # @return [ExactlyOnce, nil] runs handlers in transactions
      def exactly_once
        @current[0].exactly_once
      end

      # @param error [Exception]
      # @param event [ChangeEvent]
      # @return [RetryPolicy::Decision]
      def decide(error, event)
        policy.decide(error, event)
      end

      # Replaces the code of a started consumer with that of another setup, if both get the same events in the same
      # form.
      # @param other [Setup] that of the reloaded class
      # @return [void]
      def adopt(other)
        @current[0] = other.code if [title, live?, delivery] == [other.title, other.live?, other.delivery]
      end

      # @param other [Setup]
      # @return [Boolean] whether what this setup has started can run the code of the other. It cannot if they differ in
      #   what they start, or if there is something that keeps the old code: what threads made by `resource`, or another
      #   kind of worker
      def same_session?(other)
        keeps_nothing? && other.keeps_nothing? && session_words == other.session_words
      end

      # Shows no passwords.
      # @return [String]
      def inspect
        "#<#{self.class} of #{name}>"
      end

      protected

      def code
        @current[0]
      end

      def keeps_nothing?
        resource.nil? && concurrency.kind == :threads
      end

      # Returns what must be equal. It leaves out where a new group begins: that counts only once, and a Time differs at
      # each reload.
      def session_words
        [title, core.except(:from), callables, concurrency.size, batch, logger, reconnect_after_fork,
         exactly_once&.words]
      end

      private

      def read_source(state, code)
        @source = Sources.of(name, state.sources, state.said(:order))
        code.format = source.format
        code.forwarding = Forwarding.of(name, state.said(:forward), source.core.dig(:wal, :by))
        return if code.forwarding.nil? || source.is_a?(WalSource)

        Check.refuse("#{name} forwards to #{code.forwarding.stream}, which needs PostgreSQL's log: say wal url, " \
                     "slot: \"name\"")
      end

      def read_handlers(state, code)
        batch = state.said(:batch)
        @batch = Words.batch(name, batch) if batch
        @delivery = @batch ? BatchDelivery : Delivery
        processor = Processing.of(name, state.said(:processor))
        code.invoker = invoker = Invoker.new(state.consumer_class, state.handlers, processor, state.said(:limit),
                                             transactions: state.said(:on_transaction))
        check_handlers(invoker)
        return read_transactions(invoker, processor) if state.said(:on_transaction)

        check_batches(invoker, processor) if @batch
      end

      def check_handlers(invoker)
        Check.refuse("#{name} handles nothing: define call(event), or on(type) { |event| }") if invoker.empty?
        Check.refuse("#{name} has a method call and a processor: only one can have the events") if invoker.ambiguous?
      end

      def check_batches(invoker, processor)
        Check.refuse("#{name} has batches, which go to call(events): on(type) is for single events") if invoker.types?
        Check.refuse("#{name} has batches, which go to call(events): a processor is for single events") if processor
      end

      def read_transactions(invoker, processor)
        unless source.is_a?(WalSource) && order == "source"
          Check.refuse("on_transaction of #{name} needs PostgreSQL, and its order: say wal url, and order :source")
        end
        others = { "on(type)" => invoker.types?, "a method call" => invoker.rest?, "a processor" => processor,
                   "batches" => @batch }.select { |_, said| said }
        Check.refuse("#{name} has on_transaction and #{others.keys.first}: only one can have the events") if others.any?
        # The core knows how many changes a transaction has.
        @batch = [1, 0.0].freeze
        @delivery = TransactionDelivery
      end

      # The core writes the changes, so there is no handler.
      def read_forwarding(state, code)
        processor = Processing.of(name, state.said(:processor))
        code.invoker = Invoker.new(state.consumer_class, state.handlers, processor,
                                   transactions: state.said(:on_transaction))
        word = { "a handler" => !code.invoker.empty?, "batch" => state.said(:batch),
                 "exactly_once" => state.said(:exactly_once)&.first }.find { |_, said| said }&.first
        Check.refuse("#{name} forwards all its changes, so it cannot have #{word} of its own") if word

        @batch = Forwarding::BATCH if code.forwarding.asked?
        @delivery = ForwardDelivery
      end

      # Reads what reports and what surrounds handlers.
      def read_surroundings(state, code)
        code.on_error = state.said(:on_error)
        code.on_loss = state.said(:on_loss)
        code.exactly_once = exactly_once_of(state)
        code.middleware = Middleware.new.tap { |list| state.links.each { |link| list.add(link) } }
      end

      def exactly_once_of(state)
        said = state.said(:exactly_once)
        why = source.without_records if said&.first
        Check.refuse("exactly_once of #{name} #{why}") if why
        ExactlyOnce.of(name, said, [stream, group].compact)
      end

      def read_options(state, code, given)
        check_options(given)
        @logger = Settings.check_logger(given.delete(:logger))
        @reconnect_after_fork = Settings.check_flag(:reconnect_after_fork, given.delete(:reconnect_after_fork))
        read_concurrency(state, code)
        rules = state.rules.flat_map { |action, classes, options| RuleWords.rules(name, action, classes, options) }
        code.policy = RetryPolicy.new(rules, RuleWords.attempts(given.fetch(:attempts, source.attempts)))
        # A replay is over soon, and leaves nothing behind.
        given[:record] = false if state.said(:limit)
        @core, @callables = Settings.for_core(for_core(given))
        @redis = Native::EventConsumer.check_options(@core)
      end

      def check_options(given)
        word = given.keys.find { |key| ELSEWHERE.key?(key) }
        Check.refuse("#{word}: is no option of start: say #{ELSEWHERE[word]}") if word
        Check.foreign(name, given, source.foreign)
        Check.known(name, "start", given, OPTIONS)
      end

      def read_concurrency(state, code)
        said = state.said(:concurrency) unless code.forwarding
        @concurrency = Concurrency.of(name, said || { threads: code.forwarding ? 1 : THREADS })
        read_ractors(state, code) if concurrency.kind == :ractors
      end

      def read_ractors(state, code)
        if exactly_once
          Check.refuse("exactly_once of #{name} needs threads:, fibers: or processes: the connection to the database " \
                       "belongs to the main Ractor")
        end
        code.invoker = Executors::Ractors.new(name, state.consumer_class, procs(state))
      end

      # @return [Array<String>] what Ractors cannot have, and what there is instead
      def procs(state)
        { "on(type) { }: define call(event)" => invoker.types?,
          "on_transaction { }: take threads:" => delivery == TransactionDelivery,
          "a processor: define call(event)" => state.said(:processor),
          "resource { }: define self.open_resource" => resource,
          "a block: define a class with call(event)" => state.said(:block) }.filter_map { |text, said| text if said }
      end

      # Returns the options for the core. The core gives up on an event only if no rule would try it again, because its
      # processes died with it.
      def for_core(given)
        @redis_options = given.fetch(:redis_options) { RedisIPC.configuration.redis_options }
        options = given.merge(redis_options: redis_options, threads: concurrency.handlers,
                              attempts: policy.most_attempts, **source.core)
        options[:wal] = options[:wal].merge(transactions: true) if delivery == TransactionDelivery
        options[:forward] = forwarding.core if forwarding
        @batch ? options.merge(batch_size: @batch.first) : options
      end
    end
    private_constant :Setup
  end
end
