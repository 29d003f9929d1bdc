# frozen_string_literal: true

module RedisIPC
  module Testing
    # Delivers events in tests; `require "redis_ipc/rspec"` and `"redis_ipc/minitest"` give it to every test.
    module EventDelivery
      # Does what {Testing.deliver_event} does.
      # @return [DeliveredEvent]
      def deliver_event(*arguments, **options)
        Testing.deliver_event(*arguments, **options)
      end

      # Does what {Testing.deliver_events} does.
      # @return [Array<DeliveredEvent>]
      def deliver_events(*arguments, **options)
        Testing.deliver_events(*arguments, **options)
      end

      # Does what {Testing.lose_events} does.
      # @return [Loss]
      def lose_events(*arguments, **options)
        Testing.lose_events(*arguments, **options)
      end
    end

    # What {Testing} knows of events.
    module EventMethods
      # The exceptions by which RSpec and Minitest fail a test.
      FAILURES = %w[RSpec::Expectations::ExpectationNotMetError RSpec::Mocks::MockExpectationError
                    Minitest::Assertion].freeze
      NONE = Object.new.freeze
      private_constant :FAILURES, :NONE

      # Delivers an event to a consumer at once, in the calling thread and without Redis. It goes through the same JSON,
      # middleware, rules and error handling as an event of a stream. In every mode.
      #
      # An exception of the handler is not raised: the result has it. A failed expectation or mock is raised.
      # @param consumer [Class, Events::Subscription] a {Events::Consumer}, which need not be started
      # @param type [String, Symbol, nil]
      # @param data [Object] as for {Events.publish}; without it the other keywords are the data. Of a consumer of
      #   channels it is the payload: JSON with `json: true`, else its text; of one of keys the value; of one of
      #   PostgreSQL the columns of a row
      # @param key [String, Symbol, Integer, nil] of a consumer of channels the channel, else its first one; of one
      #   of PostgreSQL the column that is the key, else `id`
      # @param fields [Hash, nil] the fields of a foreign entry, instead of type, data and key
      # @param attempt [Integer] which try it is, from 1 on
      # @param duplicates [Integer] how often it is delivered again after that, each time as the next attempt
      # @param named [Hash] the data
      # @return [DeliveredEvent] what became of the last delivery
      # @raise [ArgumentError] if an argument is of the wrong kind
      # @raise [ContentError] if JSON cannot hold the data
      # @raise [ConfigurationError] if the class says something wrong
      # @example
      #   RedisIPC::Testing.deliver_event(BillingEvents, "order.created", order_id: 7).done?  #=> true
      #   RedisIPC::Testing.deliver_event(BillingEvents, "order.created", { order_id: 7 }, key: "7", duplicates: 2)
      #   RedisIPC::Testing.deliver_event(PriceEvents, "tick", { price: 12 }, key: "prices")
      #   RedisIPC::Testing.deliver_event(SessionEvents, "expired", key: "session:1")
      #   RedisIPC::Testing.deliver_event(Alarms, fields: { "event" => "too_hot", "payload" => "{}" })
      # rubocop:disable Metrics/ParameterLists -- most are what `publish` takes
      def deliver_event(consumer, type = nil, data = NONE, key: nil, fields: nil, attempt: 1, duplicates: 0, **named)
        delivery = Events::InlineConsumers.delivery(consumer)
        check_counts(attempt, duplicates)
        entry = delivery.entry(described({ type: type, key: key }, data, fields, named), attempt)
        deliver(delivery, [entry], duplicates).first
      end
      # rubocop:enable Metrics/ParameterLists

      # Delivers several events to a consumer, as {deliver_event} does. A consumer with batches gets them together.
      # @param consumer [Class, Events::Subscription]
      # @param events [Array<Hash{Symbol => Object}>] each with `data:`, and perhaps `type:` and `key:`; or with
      #   `fields:`
      # @param attempt [Integer]
      # @param duplicates [Integer] how often all of them are delivered again after that, each time as the next attempt
      # @param reorder [Boolean] whether they come in another order, as far as the consumer's order allows that: without
      #   an order the last one first; in order by key the events of the last key first
      # @return [Array<DeliveredEvent>] what became of the last delivery of each, in the order of `events`
      # @raise (see deliver_event)
      # @example
      #   RedisIPC::Testing.deliver_events(SearchEvents, [{ data: { id: 1 } }, { data: { id: 2 } }]).all?(&:done?)
      def deliver_events(consumer, events, attempt: 1, duplicates: 0, reorder: false)
        delivery = Events::InlineConsumers.delivery(consumer)
        check_counts(attempt, duplicates)
        entries = events.map { |event| delivery.entry(event, attempt) }
        sent = reorder ? delivery.reordered(entries) : entries
        results = sent.map(&:id).zip(deliver(delivery, sent, duplicates)).to_h
        entries.map { |entry| results.fetch(entry.id) }
      end

      # @param consumer [Class, Events::Subscription]
      # @param event [ChangeEvent, DeliveredEvent, PublishedEvent, String, nil] an event or its position
      # @return [Boolean] whether everything is settled that this consumer was delivered up to that event, and the event
      #   was delivered. Without an event: everything, and something was. What is settled is not delivered again by
      #   itself: it is done, discarded, or a dead letter that holds no key
      # @raise [ArgumentError] if it is no consumer
      # @example
      #   RedisIPC::Testing.checkpointed?(BillingEvents)
      def checkpointed?(consumer, event = nil)
        Events::InlineConsumers.delivery(consumer).progress.settled?(position(event))
      end

      # @return [String] what a consumer was delivered and is not settled, for people
      # @api private
      def unsettled(consumer)
        open = Events::InlineConsumers.delivery(consumer).progress.unsettled
        last = deliveries.to_h { |one| [one.event.native.id, one] }
        open.empty? ? "nothing is open" : "open: #{open.map { |position| last[position].inspect }.join("; ")}"
      end

      # @return [Array<PublishedEvent>] the events that were published since the last {Testing.reset!}, the oldest first
      def published
        @lock.synchronize { @published.dup }
      end

      # @return [Array<DeliveredEvent>] what became of the events that consumers have handled since the last
      #   {Testing.reset!}, the oldest first
      def deliveries
        @lock.synchronize { @deliveries.dup }
      end

      # Records what is published. In inline mode the consumers of the stream handle it.
      # @raise [Exception] what a handler raised, unless `discard_on` names it
      # @api private
      def publish(stream, partitions, entries)
        entries.each do |entry|
          event = PublishedEvent.new(Events::InlineConsumers.event(stream, entry))
          @lock.synchronize { @published << event }
        end
        return unless mode == :inline

        done = Events::InlineConsumers.of_stream(stream, partitions).flat_map { |delivery| delivery.call(entries) }
        failed = done.find { |one| one.retried? || one.dead? }
        raise failed.error if failed
      end

      # @api private
      def note_delivery(delivered)
        @lock.synchronize { @deliveries << delivered }
        delivered
      end

      # @return [Array<Events::Runner>] the consumers that the test has started
      # @api private
      def started_consumers
        Receivers.runners
      end

      # Runs the block with CurrentAttributes of its own.
      # @api private
      def apart_from_caller(&block)
        CurrentAttributes.apart(&block)
      end

      # @api private
      def event_engine(setup)
        EventEngine.of(setup)
      end

      # @api private
      def event_entry(...)
        EventEngine.entry(...)
      end

      # @api private
      def published_as?(event, type, stream, key)
        [[event.type, type], [event.stream, stream], [event.key, key]]
          .all? { |found, expected| expected.nil? || found == expected.to_s }
      end

      # Returns whether this exception fails a test.
      # @api private
      def failure?(exception)
        FAILURES.intersect?(exception.class.ancestors.map(&:name))
      end

      private

      # Delivers entries, and then again as the next attempts.
      # @return [Array<DeliveredEvent>] what became of the last deliveries
      def deliver(delivery, entries, duplicates)
        again = (1..duplicates).map do |number|
          entries.map { |entry| entry.dup.tap { |one| one.deliveries += number }.freeze }
        end
        [entries, *again].map { |some| delivery.call(some) }.last
      end

      def position(event)
        event = event.event if event.is_a?(DeliveredEvent)
        return event if event.nil? || event.is_a?(String)
        return event.position if event.is_a?(PublishedEvent)
        # Of other sources than streams the position is not what tells one from another.
        return event.native.id if event.is_a?(ChangeEvent)

        raise ArgumentError, "an event or its position is needed, got #{event.inspect}"
      end

      def check_counts(attempt, duplicates)
        count("attempt", attempt, 1)
        count("duplicates", duplicates, 0)
      end

      def described(names, data, fields, named)
        given = data != NONE
        raise ArgumentError, "give the data as an argument or as keywords, not both" if given && !named.empty?
        return names.merge(data: given ? data : named) unless fields
        return { fields: fields } if !given && named.empty? && names.compact.empty?

        raise ArgumentError, "fields: is a whole entry: give no type, key or data beside it"
      end

      def count(name, given, least)
        return if given.is_a?(Integer) && given >= least

        raise ArgumentError, "#{name} must be a whole number from #{least} on, got #{given.inspect}"
      end
    end
  end
end
