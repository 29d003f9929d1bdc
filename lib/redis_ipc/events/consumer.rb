# frozen_string_literal: true

module RedisIPC
  module Events
    # A consumer handles the events of a source. Any number of processes may start the same consumer. For a stream they
    # share its group, and each event goes to one of them. For channels and keys each process gets every event. For
    # PostgreSQL's log one process gets all events, and the others stand by.
    #
    # Each execution gets its own instance of the class, so two executions share only what the class shares on purpose.
    # Methods, instance variables and constants of a subclass may have any name. A subclass inherits what its superclass
    # declares, and may declare otherwise. {start} checks the declarations.
    #
    # @example
    #   class BillingEvents < RedisIPC::Events::Consumer
    #     stream "orders", group: "billing", from: :beginning
    #     retry_on Net::ReadTimeout, attempts: 10
    #     discard_on ActiveRecord::RecordNotFound
    #
    #     on("order.created") { |event| Invoice.create!(order: event["order_id"]) }
    #
    #     def call(event) = AuditLog.add(event.type)
    #   end
    #
    #   BillingEvents.start
    class Consumer
      extend InstancePerEvent

      class << self
        # Declares the stream whose events the class handles, and the group.
        # @param name [String, Symbol] the stream's name: the Redis key
        # @param options [Hash] `group:` is the name of the group, which must be given; `from:` is where a new group
        #   begins: `:new` (the default), `:beginning`, a Time or an id; `json:` names the field
        #   that holds JSON, or is false to decode none; `type:` names the field that holds the type
        # @return [self]
        # @example The entries of another program
        #   stream "sensors", group: "alarms", json: "payload", type: "event"
        def stream(name, **options)
          ConsumerState.of(self).say_source(:stream, name, options)
          self
        end

        # Declares the channels of Pub/Sub whose messages the class handles. Redis keeps no messages: what is published
        # while there is no subscription is missed, and reported to {on_loss}. Each process that starts the class gets
        # every message.
        # @param names [Array<String, Symbol>] the channels
        # @param options [Hash] `json: true` decodes payloads; `type:` names the type in that data, for {on};
        #   `overflow:` says what is dropped when handlers are too slow: `:drop_oldest` (the default), `:drop_newest`,
        #   or `:block`, which lets Redis drop the connection
        # @return [self]
        # @example
        #   channel "prices", "rates", json: true
        def channel(*names, **options)
          ConsumerState.of(self).say_source(:channel, names, options)
          self
        end

        # Declares patterns of channels, like {channel}.
        # @param patterns [Array<String>] with `*`, `?` and `[...]`, as in Redis
        # @param options [Hash] as for {channel}
        # @return [self]
        # @example
        #   pattern "prices.*"
        def pattern(*patterns, **options)
          ConsumerState.of(self).say_source(:pattern, patterns, options)
          self
        end

        # Declares sharded channels of a Redis Cluster, like {channel}. `SPUBLISH` publishes to them. The subscription
        # follows a channel to the node that serves it.
        # @param names [Array<String, Symbol>] the channels
        # @param options [Hash] as for {channel}
        # @return [self]
        # @example
        #   shard_channel "prices"
        def shard_channel(*names, **options)
          ConsumerState.of(self).say_source(:shard_channel, names, options)
          self
        end

        # Declares patterns of keys, and handles the keyspace notifications about them, from each node that serves keys.
        # Notifications are best effort: Redis sends what it notices, and keeps nothing.
        # @param patterns [Array<String>] with `*`, `?` and `[...]`, as in Redis
        # @param options [Hash] `on:` are the wanted events (`%i[expired del]`), all if it is not given; `value: true`
        #   reads the value of the key after each; `fields: true` handles the events of the fields of hashes, and no
        #   others (Redis 8.8 and later); `overflow:` is as for {channel}
        # @return [self]
        # @example
        #   keys "session:*", on: %i[expired del]
        def keys(*patterns, **options)
          ConsumerState.of(self).say_source(:keys, patterns, options)
          self
        end

        # Declares prefixes of keys that this process caches, and handles the invalidations of client-side caching: each
        # key under them that may have changed, expired or been deleted, from each node that serves keys. After any
        # {on_loss} everything that is cached may be stale, and must be dropped.
        # @param prefixes [Array<String>] each with `*` at its end, and no other pattern: Redis tracks prefixes
        # @param options [Hash] `overflow:` is as for {channel}
        # @return [self]
        # @example
        #   tracking "user:*"
        #   on_loss { CACHE.clear }
        #   def call(event) = CACHE.delete(event.key)
        def tracking(*prefixes, **options)
          ConsumerState.of(self).say_source(:tracking, prefixes, options)
          self
        end

        # Declares a database of PostgreSQL whose changes the class handles, as read from its write-ahead log: inserted,
        # updated and deleted rows, truncated tables, and logical messages. A replication slot keeps them until they are
        # done. One process at a time reads the slot. Other processes that start the class wait, and take over.
        # @param connection [String, Hash, Symbol, nil] a URL; or options by the names of libpq (`host:`, `dbname:` and
        #   so on); or in Rails the name of a database in config/database.yml, such as `:primary`. What it does not set
        #   comes from the environment (PGHOST and so on)
        # @param options [Hash] `slot:` is the name of the slot, which must be given, unless `temporary: true` makes one
        #   that lives as long as the connection; `publication:` is the name of the publication (by default that of the
        #   slot); `tables:` are names such as `"accounts"` or `"billing.accounts"` (by default all of the publication);
        #   `create: true` creates the publication and the slot if they do not exist; `snapshot: true` delivers the
        #   rows that exist before the log, as insertions with `metadata[:snapshot]`; `failover: true` needs a slot that
        #   PostgreSQL 17 and later copies to standbys; `on_slot_lost:` is `:create` (the default: the loss is reported,
        #   and a new slot created) or `:raise`
        # @return [self]
        # @example
        #   wal ENV["DATABASE_URL"], tables: "accounts", slot: "ipc_accounts"
        def wal(connection = nil, **options)
          ConsumerState.of(self).say_source(:wal, connection, options)
          self
        end

        # Writes the changes of PostgreSQL's log into a stream of Redis, each of them once, in place of a handler. What
        # is written is what {Events.publish} writes, so any consumer of a stream can have them.
        # @param options [Hash] `to:` is the name of the stream, which must be given; `key:` is where the key comes
        #   from: a column or an Array of these (else the replica identity), or anything with `call(event)`; `type:` is
        #   the type: a String, a Symbol (the column that holds it) or anything with `call(event)` (else the table and
        #   the operation, `"orders.insert"`); `partitions:`, `maxlen:`, `keep:` and `unread:` are those of
        #   {Events.publish_all}
        # @return [self]
        # @example
        #   class OrderFeed < RedisIPC::Events::Consumer
        #     wal ENV["DATABASE_URL"], tables: "orders", slot: "ipc_orders"
        #     forward to: "orders", key: "customer_id", keep: 7.days
        #   end
        def forward(**options)
          ConsumerState.of(self).say(:forward, options)
          self
        end

        # Declares the order in which events are handled.
        # @param order [Symbol] `:none`, the default of a stream: any thread of any process takes the next event;
        #   `:key`: events of the same key are handled one after the other, across all processes; `:source`: all events
        #   are, which is the default of PostgreSQL's log; `:channel`, the default of channels and patterns: messages of
        #   the same channel are, in each process. For `keys` and `tracking` the default is `:key`, in each process
        # @param options [Hash] for `:key`: `by:` names the field that holds the key, or the part of the data (the
        #   default is the key that {Events.publish} was given), and `lanes:` is the number of lanes that processes
        #   share the keys by (64). Or `partitions:` is the number of streams, `orders:0`, `orders:1` and so on, over
        #   which publishers spread the events: each process reads only those that it owns. For both orders
        #   `then: :hold_key` lets the later events of a key wait after one of them has become a dead letter, until
        #   someone retries or discards it
        # @return [self]
        # @example
        #   order :key, by: "order_id"
        # @example What `publish "orders", ..., partitions: 16` has spread over 16 streams
        #   order :key, partitions: 16
        def order(order, **options)
          ConsumerState.of(self).say(:order, [order, options])
          self
        end

        # Declares how many events a process handles at the same time.
        # @param options [Hash] `threads: 5`, or `fibers: 50`, which needs the gem async, or `processes: 2`, perhaps
        #   with `threads:` in each, or `ractors: 3` (Ruby 3.4 and later, experimental); docs/events.md says which kind
        #   suits which handlers
        # @return [self]
        def concurrency(**options)
          ConsumerState.of(self).say(:concurrency, options)
          self
        end

        # Lets the class handle events in batches: `call` gets an Array of them. If it raises, the batch is split in
        # two, and each half is tried on its own, until the failing events are found. If `retry_on` names the exception,
        # all events of the batch are tried again later instead.
        # @param options [Hash] `size:` is the most events of a batch; `within: 0.2` is how many seconds a batch may
        #   take to fill
        # @return [self]
        # @example
        #   batch size: 500, within: 0.2
        #   def call(events) = Index.bulk(events).failures.each { |event, why| event.fail!(why) }
        def batch(**options)
          ConsumerState.of(self).say(:batch, options)
          self
        end

        # Runs the handler of each event (or batch) in a database transaction that also writes a row saying that the
        # event is done. If the event comes again, the row shows that, and the handler does not run. So what the
        # handler writes to that database is written once. Effects elsewhere may be repeated.
        # @param record [Class, false] a class of ActiveRecord with a connection to PostgreSQL or SQLite; false switches
        #   it off
        # @param options [Hash] `keep:` is for how many seconds rows are kept at least (86,400); `server:` is a name for
        #   the Redis server in the tables, for consumers of several servers that have the same stream and group
        # @return [self]
        # @example
        #   exactly_once ActiveRecord::Base
        def exactly_once(record, **options)
          ConsumerState.of(self).say(:exactly_once, [record, options])
          self
        end

        # Tries events again whose handler raised one of these exceptions. Of several rules, that of the most specific
        # class counts; for the same class the later one. An event whose exception has no rule is tried again, too, as
        # often as the option `attempts:` of {start} says.
        # @param classes [Array<Class, Module>] classes of exceptions
        # @param options [Hash] `wait:` is a number of seconds, a Proc that returns seconds for an attempt, or
        #   `:exponential` (1, 2, 4 and so on up to an hour, and up to 15 % more at random), the default; `attempts:` is
        #   how often an event is tried before it is given up on; an event of a stream then becomes a dead letter
        # @return [self]
        # @example
        #   retry_on Net::ReadTimeout, Errno::ECONNREFUSED, wait: ->(attempt) { attempt * 10 }, attempts: 20
        def retry_on(*classes, **options)
          ConsumerState.of(self).add_rules(:retry, classes, options)
          self
        end

        # Discards events whose handler raised one of these exceptions.
        # @param classes [Array<Class, Module>] classes of exceptions
        # @return [self]
        def discard_on(*classes)
          ConsumerState.of(self).add_rules(:discard, classes, {})
          self
        end

        # Handles events of a type. The block runs in a new instance of the class; `return` works inside it. Events of
        # other types go to the method `call`. Without that method they are skipped.
        # @param types [Array<String, Symbol>]
        # @yieldparam event [ChangeEvent]
        # @return [self]
        # @raise [ArgumentError] without a block or a type
        def on(*types, &block)
          raise ArgumentError, "on needs a block" unless block
          raise ArgumentError, "on needs a type" if types.empty?

          types.each do |type|
            name = ConsumerState.of(self).add_handler(type.to_s)
            define_method(name, &block)
            private name
          end
          self
        end

        # Handles the changes of each committed transaction of PostgreSQL together, with `order :source`. The block runs
        # in a new instance of the class. If it raises, all of them are tried again. A transaction of more changes
        # than `prefetch:` comes in parts.
        # @yieldparam transaction [CommittedTransaction]
        # @return [self]
        # @raise [ArgumentError] without a block
        # @example
        #   on_transaction { |transaction| Mirror.transaction { transaction.each { |event| Mirror.apply(event) } } }
        def on_transaction(&block)
          raise ArgumentError, "on_transaction needs a block" unless block

          ConsumerState.of(self).say(:on_transaction, :"committed transaction")
          define_method(:"committed transaction", &block)
          private :"committed transaction"
          self
        end

        # Lets an object handle the events that have no {on}, instead of the method `call`: any object with
        # `process(event)`. All threads share the object. If it is a class without `process` of its own, each event gets
        # a new instance.
        #
        # If it returns an object with `failure?`, as the handlers of the gem cdc-core do, that fails the event.
        # @param processor [#process, Class]
        # @param options [Hash] `cdc:` says whether it gets {ChangeEvent#to_cdc}; the default is true for handlers of
        #   the gem cdc-core
        # @return [self]
        # @example
        #   class AuditEvents < RedisIPC::Events::Consumer
        #     stream "orders", group: "audit"
        #     processor AuditTrail.new
        #   end
        def processor(processor, **options)
          ConsumerState.of(self).say(:processor, [processor, options])
          self
        end

        # Sets the block that is called with errors: exceptions of events that were given up on, lost connections. It
        # keeps its own `self`.
        # @yieldparam exception [Exception] what happened
        # @return [self]
        # @raise [ArgumentError] without a block
        def on_error(&block)
          raise ArgumentError, "on_error needs a block" unless block

          ConsumerState.of(self).say(:on_error, block)
          self
        end

        # Sets the block that is called with losses: what may be missing. Without one, they are logged. It keeps its own
        # `self`.
        # @yieldparam loss [Loss]
        # @return [self]
        # @raise [ArgumentError] without a block
        # @example
        #   on_loss { |loss| Reconcile.perform_later(loss.since, loss.until) }
        def on_loss(&block)
          raise ArgumentError, "on_loss needs a block" unless block

          ConsumerState.of(self).say(:on_loss, block)
          self
        end

        # Adds middleware around the handler, from the next {start} on. The middleware of a superclass is outside of
        # that of a subclass. An exception that it raises counts as the handler's.
        # @param link [#call, nil] instead of a block
        # @yieldparam event [ChangeEvent, Array<ChangeEvent>, CommittedTransaction] an Array in a consumer with batches,
        #   and a transaction in one of transactions
        # @yieldparam handler [#call]
        # @return [self]
        # @example
        #   around_event { |event, handler| Sentry.with_scope { handler.call } }
        def around_event(link = nil, &block)
          ConsumerState.of(self).middleware.add(link, &block)
          self
        end

        # Gives each worker (a thread, or one of the places for fibers) an object of its own, such as a connection. The
        # block makes it when a handler first asks for its {#resource}. It is closed (`close`) when the worker ends.
        # @yieldreturn [Object]
        # @return [self]
        # @raise [ArgumentError] without a block
        # @example
        #   resource { Redis.new }
        #   def call(event) = resource.incr("orders")
        def resource(&block)
          raise ArgumentError, "resource needs a block" unless block

          ConsumerState.of(self).say(:resource, block)
          self
        end

        # Sets options of {start}. Those given to {start} take precedence.
        # @param options [Hash]
        # @return [self]
        def options(**options)
          ConsumerState.of(self).add_options(options)
          self
        end

        # Starts to handle events in this process. Returns when Redis is connected and the group exists; for channels
        # and keys when the subscription is active; for PostgreSQL when it is connected, and either this process or
        # another one reads the slot.
        #
        # These are the defaults. Times are in seconds, sizes in bytes.
        #
        #   redis_options: {},       # which server, in redis-rb's names; else those of RedisIPC.configure
        #   logger: nil, attempts: 5, max_event_size: 16_777_216, reconnect_after_fork: true, prefetch: 10_000
        #   # of streams only:
        #   lease: 30, remember_ids: 10_000, dead_letters: { keep: 604_800, max_size: 134_217_728 }
        #   # of channels, keys and PostgreSQL only:
        #   prefetch_bytes: 67_108_864
        #
        # For channels and keys `attempts` is 1 unless it is given. For PostgreSQL it is 1,000, and so is `prefetch`.
        # @param options [Hash] merged over the defaults and over {options}, nested Hashes too;
        #   `redis_options:` replace those of {options} as a whole, so that no password goes to another Redis
        # @return [self]
        # @raise [ConfigurationError] if an option or a declaration of the class is unknown, of the wrong type or
        #   contradicts another one
        # @raise [ConnectionError] if Redis, or PostgreSQL, cannot be reached, or the class is started already
        # @raise [CommandError] if Redis, or PostgreSQL, refuses
        # @raise [ThreadLimitError] if a thread cannot be started; nothing stays connected
        # @raise [Error] if a worker process cannot be forked; nothing stays connected
        def start(**options)
          ConsumerState.of(self).start(options)
          self
        end

        # Stops in order: takes no more events, lets running handlers finish, and hands back at once what was not
        # started. For channels and keys that is dropped, because nothing keeps it. May be called again, and before
        # {start}.
        # @param timeout [Numeric] seconds for the handlers to finish
        # @return [self]
        # @raise [ArgumentError] if the timeout is no number of seconds, or negative
        def stop(timeout: 5)
          timeout = Monotonic.finite(timeout)
          ConsumerState.of(self).runner&.disconnect(timeout: timeout)
          self
        end

        # @return [Boolean] whether it is started in this process
        def running?
          ConsumerState.of(self).running?
        end

        # Handles no more events until {resume}. Running handlers go on. Other processes of the group go on, too.
        # @param key [String, Symbol, Integer, nil] pauses only the events of this key, while this process owns it
        # @return [self]
        # @raise [NotConnectedError] if it is not started
        # @raise [ConfigurationError] if a key is given, and the source is not a stream with an order by key
        def pause(key: nil)
          started = ConsumerState.of(self).started
          key.nil? ? started.pause : started.pause_key(key, true)
          self
        end

        # @param key [String, Symbol, Integer, nil] resumes only the events of this key
        # @return [self]
        # @raise (see pause)
        def resume(key: nil)
          started = ConsumerState.of(self).started
          key.nil? ? started.resume : started.pause_key(key, false)
          self
        end

        # @return [Boolean] whether it is paused: by {pause}, or because its group was told to (see
        #   `RedisIPC::Admin#pause`)
        def paused?
          ConsumerState.of(self).runner ? ConsumerState.of(self).runner.paused? : false
        end

        # @return [Hash{Symbol => Integer}] the counters since {start}; docs/events.md explains each
        # @raise [NotConnectedError] if it was never started in this process
        def stats
          ConsumerState.of(self).started.stats
        end

        # @return [Integer, nil] how many entries of the stream (or of all partitions) have not been delivered to the
        #   group; for PostgreSQL how many bytes of the log have not been confirmed to the slot; nil if the server
        #   cannot tell
        # @raise [ConnectionError] if the server cannot be reached, or the class is not started
        # @raise [ConfigurationError] if its source is channels or keys
        def lag
          ConsumerState.of(self).started.lag
        end

        # @return [Checkpoint] the position of the group in the stream
        # @raise [NotConnectedError] if it is not started
        # @raise [ConfigurationError] if its source is no stream
        def checkpoint
          ConsumerState.of(self).started.checkpoint
        end

        # @return [DeadLetters] the events that the group gave up on; Redis is read when they are iterated
        # @raise [NotConnectedError] if it is not started
        # @raise [ConfigurationError] if its source is no stream
        def dead_letters
          ConsumerState.of(self).started.dead_letters
        end
      end

      # @return [Object] what the block of {Consumer.resource} made for this worker
      # @raise [Error] if the class has no such block, or no handler is running
      def resource
        Resources.current
      end
    end
  end
end
