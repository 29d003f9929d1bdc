# frozen_string_literal: true

module RedisIPC
  # Runs consumers in tests.
  module Events
    # Delivers entries to one consumer in the calling thread. Around the handler is all that a worker thread has.
    # @api private
    class InlineDelivery
      # Keeps what was decided for each event.
      class Decisions < Settlement
        # @param runner [Runner]
        # @param setup [Setup]
        def initialize(runner, setup)
          super
          @decisions = {}.compare_by_identity
        end

        # @param native [Object]
        # @return [RetryPolicy::Decision]
        def of(native)
          @decisions.fetch(native)
        end

        # Raises a test's failure to the test, though in a worker it would be a failure of the event.
        def decide(error, event)
          return super unless Testing.failure?(error)

          @failed = true
          raise error
        end

        def carry_out(engine, native, event, decision)
          keep([native], decision)
          super
        end

        def carry_out_all(engine, natives, subject, decision)
          keep(natives, decision)
          super
        end

        def done(engine, natives)
          keep(natives, RetryPolicy::DONE)
          super
        end

        def skip(engine, natives)
          keep(natives, RetryPolicy::SKIP)
          super
        end

        def forward(engine, natives, *)
          keep(natives, RetryPolicy::DONE)
          super
        end

        def stopped(engine, natives, subject, ended_by)
          super unless @failed
        end

        private

        def keep(natives, decision)
          natives.each { |native| @decisions[native] = decision }
        end
      end

      # What the core says of an event that it gives up on.
      GIVEN_UP = "delivered %d times without being done: each process with it died, hung or could not acknowledge it"
      private_constant :Decisions, :GIVEN_UP

      # @param setup [Setup]
      def initialize(setup)
        @setup = setup
        @runner = Runner.new(setup)
        @engine = Testing.event_engine(setup)
        @engine.redeliver ||= ->(entry) { InlineDelivery.new(setup).call([entry]) }
      end

      # @param entries [Array<StoredEvent>]
      # @return [Array<Testing::DeliveredEvent>]
      # @raise [Exception] a failure of the test
      def call(entries)
        entries = entries.map { |entry| in_partition(entry) }
        decisions = Decisions.new(@runner, @setup)
        @setup.exactly_once&.check
        entries.each { |entry| @engine.take(entry) }
        spent, rest = entries.partition { |entry| entry.deliveries > @setup.policy.most_attempts }
        spent.each { |entry| give_up(entry, decisions) }
        Testing.apart_from_caller { with_resources { handle(rest, decisions) } }
        entries.map { |entry| delivered(entry, decisions) }
      end

      # @param event [Hash] as {InlineConsumers.entry}
      # @param deliveries [Integer]
      # @return [StoredEvent]
      def entry(event, deliveries)
        InlineConsumers.entry(event, deliveries, @setup.source)
      end

      # @return [Symbol] the kind of the consumer's source, as {ChangeEvent#kind}
      def kind
        @setup.format.kind
      end

      # Tells the consumer of a loss.
      # @param loss [Loss]
      # @return [void]
      def lose(loss)
        @engine.lose
        Testing.apart_from_caller { @runner.lost(loss) }
      end

      # @param told [Hash{Symbol => Object}] what the core would tell of a loss besides
      # @return [Loss]
      def loss(told)
        source = @setup.partitions ? Partitions.stream(@setup.stream, 0) : @setup.stream.dup
        Loss.new(source: source, node: @setup.redis.dup, **told)
      end

      # Returns entries in the other order that is the farthest from theirs, of those that the consumer's order allows:
      # from the last to the first; with an order by key the events of the last key first.
      # @param entries [Array<StoredEvent>]
      # @return [Array<StoredEvent>]
      # @raise [ArgumentError] if it allows no other
      def reordered(entries)
        case @setup.order
        when "none" then entries.reverse
        when "key", "channel" then entries.group_by { |entry| key_of(entry) || entry.id }.values.reverse.flatten(1)
        else raise ArgumentError, "#{@setup.name} has the order :source, so its events come in no other order"
        end
      end

      # @return [Testing::Progress] what the group was delivered
      def progress
        @engine.delivered
      end

      private

      def in_partition(entry)
        return entry unless @setup.partitions

        # Delivered again, it is in the same one.
        id = entry.fields[EntryFormat::ID] || entry.id
        lane = Partitions.of_entry(entry.fields, id, @setup.partitions)
        entry.dup.tap { |one| one.lane = lane }.freeze
      end

      # What cannot be read has no key.
      def key_of(entry)
        event = ChangeEvent.new(entry, @setup.format)
        @setup.live? ? event.key || event.source : event.key
      rescue MalformedEntryError
        nil
      end

      def delivered(entry, decisions)
        event = ChangeEvent.new(entry, @setup.format)
        Testing.note_delivery(Testing::DeliveredEvent.new(event, decisions.of(entry)))
      end

      def handle(entries, decisions)
        delivery = @setup.delivery.new(@setup, decisions)
        case delivery
        when Delivery then entries.each { |entry| delivery.call(@engine, entry) }
        when BatchDelivery then entries.each_slice(@setup.batch.first) { |some| delivery.call(@engine, some) }
        else delivery.call(@engine, entries)
        end
      end

      def give_up(entry, decisions)
        event = ChangeEvent.new(entry, @setup.format)
        error = DeadLetteredError.new(format(GIVEN_UP, entry.deliveries - 1), stream: event.source,
                                                                              entry_id: event.position)
        decisions.carry_out(@engine, entry, event, RetryPolicy::Decision.new(:bury, error))
      end

      def with_resources(&block)
        return yield unless @setup.resource

        Resources.new(@setup.resource) { |error| @runner.report(error) }.within(&block)
      end
    end

    # Finds the consumers of tests.
    # @api private
    module InlineConsumers
      class << self
        # @param consumer [Class, Subscription]
        # @return [InlineDelivery]
        # @raise [ArgumentError] if it is no consumer
        # @raise [ConfigurationError] as {Consumer.start}
        def delivery(consumer)
          consumer = consumer.consumer if consumer.is_a?(Subscription)
          unless consumer.is_a?(Class) && consumer < Consumer
            raise ArgumentError, "a consumer is a subclass of RedisIPC::Events::Consumer, or what Events.consume " \
                                 "returned; got #{consumer.inspect}"
          end

          InlineDelivery.new(setup(consumer))
        end

        # @param event [Hash] as for {Events.publish_all}; or with `fields:` alone
        # @param deliveries [Integer]
        # @param source [StreamSource, LiveSource, WalSource] that of the consumer
        # @return [StoredEvent]
        # @raise [ArgumentError]
        # @raise [ContentError]
        def entry(event, deliveries, source)
          Testing.event_entry(fields(event, source), deliveries: deliveries)
        end

        # @param entry [StoredEvent]
        # @return [ChangeEvent] as a consumer that says nothing of the entries gets it
        def event(stream, entry)
          ChangeEvent.new(entry, EntryFormat.new(stream))
        end

        # Returns who handles what is published to a stream, or to so many partitions: who was started, and of each
        # other group the class that was defined last.
        # @return [Array<InlineDelivery>]
        def of_stream(stream, partitions)
          RedisIPC.consumers&.load_all
          found = Testing.started_consumers.map(&:setup) + all.select { |one| complete?(one) }.map { |one| setup(one) }
          found = found.select { |one| [one.stream, one.partitions] == [stream, partitions] }
          found.uniq(&:group).map { |one| InlineDelivery.new(one) }
        end

        # Returns the classes that have a name, subclasses first.
        # @return [Array<Class>]
        def all(of = Consumer)
          of.subclasses.flat_map { |one| [*all(one), *(one if present?(one))] }
        end

        # Returns all registrations of consumers, by which {restore} restores them.
        # @return [Hash{Class => Array}]
        def registrations
          [Consumer, *all].to_h { |one| [one, [ConsumerState.of(one).middleware.to_a, own_error_handler(one)]] }
        end

        # @param kept [Hash{Class => Array}] {registrations}
        # @return [void]
        def restore(kept)
          kept.each do |one, (links, handler)|
            ConsumerState.of(one).middleware.restore(links)
            ConsumerState.of(one).own_error_handler = handler
          end
        end

        # @param fields [Array<String>] names and values in turn
        # @param id [String, nil]
        # @return [Array<Array(String, String)>]
        def written(fields, id)
          [*fields.each_slice(2), *([[EntryFormat::ID, id]] if id)]
        end

        private

        def fields(event, source)
          unless event.is_a?(Hash) && event.key?(:fields)
            entry = Publication.entry(event, Tracing.traceparent)
            return of_kind(event, source) || written(*entry)
          end

          fields = event[:fields]
          return fields.to_a if event.size == 1 && fields.is_a?(Hash) && !fields.empty?

          raise ArgumentError, "fields: must be a Hash, with nothing beside it, got #{event.inspect}"
        end

        # @return [Array<Array(String, String)>, nil] nil of a stream
        def of_kind(event, source)
          case source
          when LiveSource then LiveEntries.fields(source, event)
          when WalSource then WalEntries.fields(event)
          end
        end

        def own_error_handler(consumer)
          ConsumerState.of(consumer).own_error_handler
        end

        def setup(consumer)
          state = ConsumerState.of(consumer)
          state.running? ? state.runner.setup : state.setup({})
        end

        # A class that only others inherit from has no stream or no handler.
        def complete?(consumer)
          state = ConsumerState.of(consumer)
          state.sources.key?(:stream) && (state.said(:processor) || !Invoker.new(consumer, state.handlers).empty?)
        end

        # A reloaded class has the name of the class before it.
        def present?(consumer)
          consumer.name && Object.const_defined?(consumer.name) && Object.const_get(consumer.name).equal?(consumer)
        end
      end
    end
    private_constant :InlineDelivery
  end
end
