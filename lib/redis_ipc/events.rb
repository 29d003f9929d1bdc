# frozen_string_literal: true

require_relative "events/loss"
require_relative "events/entry_fields"
require_relative "events/stored_event"
require_relative "events/transaction"
require_relative "events/plain"
require_relative "events/change_event"
require_relative "events/committed_transaction"
require_relative "events/source_format"
require_relative "events/entry_format"
require_relative "events/message_format"
require_relative "events/text_list"
require_relative "events/key_format"
require_relative "events/tracking_format"
require_relative "events/wal_values"
require_relative "events/wal_array"
require_relative "events/wal_table"
require_relative "events/wal_format"
require_relative "events/retry_policy"
require_relative "events/check"
require_relative "events/partitions"
require_relative "events/words"
require_relative "events/rule_words"
require_relative "events/live_words"
require_relative "events/stream_source"
require_relative "events/no_stream"
require_relative "events/live_source"
require_relative "events/wal_settings"
require_relative "events/wal_words"
require_relative "events/wal_source"
require_relative "events/wal_doctor"
require_relative "events/wal_slots"
require_relative "events/sources"
require_relative "events/forwarding"
require_relative "events/concurrency"
require_relative "events/cdc"
require_relative "events/processing"
require_relative "events/invoker"
require_relative "events/exactly_once"
require_relative "events/setup"
require_relative "events/middleware"
require_relative "events/consumer_state"
require_relative "events/resources"
require_relative "events/consumer"
require_relative "events/hosting"
require_relative "events/handler_pipeline"
require_relative "events/settlement"
require_relative "events/delivery"
require_relative "events/batch_delivery"
require_relative "events/transaction_delivery"
require_relative "events/forward_delivery"
require_relative "events/executors"
require_relative "events/session"
require_relative "events/runner"
require_relative "events/dead_letter"
require_relative "events/dead_letters"
require_relative "events/checkpoint"
require_relative "events/publication"
require_relative "events/trimming"
require_relative "events/publisher"
require_relative "events/publishers"

module RedisIPC
  # Events: what has changed. There are three kinds of sources:
  #
  # - a Redis Stream, of this gem or of any other program. Its entries are handled at least once;
  # - channels of Pub/Sub and keyspace notifications. Their messages are handled at most once;
  # - the write-ahead log of PostgreSQL. Its changes are handled at least once.
  #
  # @example Publish
  #   RedisIPC::Events.publish("orders", { order_id: 7 }, type: "order.created", key: "7")
  #
  # @example Handle
  #   subscription = RedisIPC::Events.consume(stream: "orders", group: "log") { |event| puts event.position }
  #   subscription.stop
  #
  # @see Consumer
  # @see file:docs/events.md The guide
  module Events
    class << self
      # Handles the events of a source with a block, as a {Consumer} does. The block runs in several threads at the same
      # time, and keeps its own `self`.
      # @param group [String, Symbol, nil] the name of the group, which a stream needs: its processes share the events
      # @param words [Hash] the source: `stream:` (a name), or `channel:`, `pattern:`, `shard_channel:`, `keys:` or
      #   `tracking:` (a name or several), or `wal:` (a database of PostgreSQL, as {Consumer.wal} takes it). Also, as
      #   keywords, what a {Consumer} declares and what {Consumer.start} takes: `from:`, `json:`, `type:`, `overflow:`,
      #   `on:`, `value:`, `fields:`, `tables:`, `publication:`, `slot:`, `temporary:`, `create:`, `snapshot:`,
      #   `failover:`, `on_slot_lost:`, `order:`, `transactions: true` (the block gets a {CommittedTransaction}),
      #   `concurrency: { threads: 5 }`, `batch: { size: 500, within: 0.2 }`,
      #   `retry_on:` (a class, an Array, or a Hash of a class and its options),
      #   `discard_on:`, `exactly_once:`, `on_error:`, `on_loss:`, `around_event:`, `resource:` (a Proc; the block gets
      #   what it makes as a second argument), `processor:` (an object with `process(event)`, instead of the block) and
      #   `cdc:`, as {Consumer.processor}, `forward:` (a Hash, instead of the block), as {Consumer.forward},
      #   `redis_options:`, `attempts:` and so on
      # @yieldparam event [ChangeEvent, Array<ChangeEvent>, CommittedTransaction] an Array with `batch:`
      # @return [Subscription]
      # @raise [ArgumentError] without a block, a processor or `forward:`, or with two of these
      # @raise (see Consumer.start)
      # @example
      #   RedisIPC::Events.consume(stream: "orders", group: "log", from: :beginning,
      #                            retry_on: { IOError => { wait: 1 } }) { |event| LOG.puts(event.to_h.to_json) }
      # @example
      #   RedisIPC::Events.consume(channel: "prices") { |event| puts event.data }
      # @example
      #   RedisIPC::Events.consume(wal: ENV["DATABASE_URL"], slot: "ipc") { |event| p event.changes }
      def consume(group: nil, **words, &block)
        if [block, words[:processor], words[:forward]].compact.size != 1
          raise ArgumentError, "consume needs a block, or a processor: with process(event), or forward:"
        end

        Subscription.new(words.slice(*Sources::WORDS).compact, group, words.except(*Sources::WORDS), &block)
      end

      # Handles the events of a stream once more, with the handlers of a consumer class and a group of its own.
      # Meanwhile the class itself goes on as before. Returns when the replay has begun.
      #
      # A new group begins at `from:`. An existing group continues from its position. If the replay has created the
      # group, it deletes it at its end.
      # @param consumer [Class] a {Consumer}
      # @param from [Time, String, Symbol] as for {Consumer.stream}
      # @param group [String, Symbol] not the group of the class
      # @param options [Hash] those of {Consumer.start}; and `until:`, which is `:now` (the default: the replay ends
      #   with what the stream has now) or `:never` (it goes on until it is stopped)
      # @return [Replay]
      # @raise [ArgumentError] if it is no consumer class
      # @raise (see Consumer.start)
      # @example
      #   RedisIPC::Events.replay(BillingEvents, from: 1.day.ago, group: "billing-shadow").wait
      def replay(consumer, from:, group:, **options)
        Replay.new(consumer, group, { from: from, **options })
      end

      # Adds an event to the end of a stream. Returns once Redis has it. The first call opens a connection, which stays
      # open.
      #
      # If the connection breaks, sends the event again until `connect_timeout` has passed. It is added only once.
      # @param stream [String, Symbol] the stream's name
      # @param data [Object] anything that JSON can hold
      # @param type [String, Symbol, nil] what happened, such as `"order.created"`
      # @param key [String, Symbol, Integer, nil] what it belongs to, such as the id of an order
      # @param options [Hash] as for {publish_all}: `partitions:`, `maxlen:`, `keep:`, `unread:`, `remember:`,
      #   `redis_options:`. And `id:`, a String, Symbol or Integer: the application's id of the event, such as that of a
      #   row in an outbox. An event with the same id is added only once within `remember:` seconds; later calls return
      #   the position of the first
      # @return [String] the event's position in the stream
      # @raise [ContentError] if JSON cannot hold the data
      # @raise [ConnectionError] if Redis cannot be reached; its `outcome` says whether the event may be in the stream
      # @raise [CommandError] if Redis refuses
      # @raise [ArgumentError] if an argument is of the wrong kind
      def publish(stream, data, type: nil, key: nil, **options)
        id = options.delete(:id)
        publish_all(stream, [{ data: data, type: type, key: key, id: id }], **options).first
      end

      # Adds several events to the end of a stream, in their order, in one round trip. With `partitions:` there is one
      # round trip for each partition.
      # @param stream [String, Symbol] the stream's name
      # @param events [Array<Hash{Symbol => Object}>] each with `data:`, and perhaps `type:`, `key:` and `id:`
      # @param redis_options [Hash, nil] which Redis; nil means those of {RedisIPC.configure}
      # @param partitions [Integer, nil] over how many streams (`orders:0`, `orders:1` and so on) the events are spread,
      #   256 at most. The key of an event determines its stream; without a key its `id:` does; without both it is
      #   random. Consumers must use the same number ({Consumer.order}). The limits apply to each partition
      # @param options [Hash] `maxlen:` is about how many entries the stream keeps, and `keep:` about how many seconds.
      #   The oldest entries beyond that are deleted. `unread:` says what happens to those that a group has not
      #   acknowledged: a number (10) keeps them until the stream exceeds the limit that many times, `:keep` keeps them
      #   for ever, and `:drop` deletes them like the others. `remember:` (600) is how many seconds Redis remembers the
      #   `id:` of an event
      # @return [Array<String>] their positions
      # @raise (see publish)
      # @example
      #   RedisIPC::Events.publish_all("orders", ids.map { |id| { data: { order_id: id }, type: "order.paid" } })
      def publish_all(stream, events, redis_options: nil, partitions: nil, **options)
        stream = Names.check("the stream's name", stream)
        Partitions.check(partitions) unless partitions.nil?
        raise ArgumentError, "publish_all needs an Array of events, got a #{events.class}" unless events.is_a?(Array)

        options = Publication.options(**options)
        return [] if events.empty?

        publish_middleware.call([stream, events]) do
          add(stream, events, partitions, redis_options || RedisIPC.configuration.redis_options, options)
        end
      end

      # Returns the partition for the events of a key.
      # @param key [String, Symbol, Integer] the key that {publish} is given
      # @param partitions [Integer] the number of partitions
      # @return [Integer] the stream is `"orders:#{partition}"`
      # @raise [ArgumentError] if the number is out of range
      # @example
      #   RedisIPC::Events.partition(7, 16)  #=> 4
      def partition(key, partitions)
        Partitions.of_key(Publication.key(key), Partitions.check(partitions))
      end

      # Creates the tables that {Consumer.exactly_once} needs, unless they exist. In Rails,
      # `rails generate redis_ipc:exactly_once` writes a migration that does so.
      # @param record [Class] the class of ActiveRecord with the connection
      # @return [void]
      # @raise [ActiveRecord::ActiveRecordError] if the database refuses
      # @example
      #   RedisIPC::Events.create_tables(ActiveRecord::Base)
      def create_tables(record)
        ExactlyOnce.create_tables(record)
      end

      private

      # @return [Array<String>] the positions
      def add(stream, events, partitions, redis_options, options)
        context = Tracing.traceparent
        entries = events.map { |event| Publication.entry(event, context) }
        ids, trimmed = Publishers.with(redis_options) do |publisher|
          RedisIPC.framework.around_wait do
            FiberWaker.outside { publisher.publish(stream, partitions, entries, *options) }
          end
        end
        trimmed.each { |name, facts| Trimming.tell(name, facts) }
        ids
      end
    end
  end
end

require_relative "events/subscription"
require_relative "events/replay"
