# frozen_string_literal: true

module RedisIPC
  module Events
    # A consumer handles the events of a source. Any number of processes may start the same consumer. Of a stream they
    # share its group, and each event goes to one of them; of channels and keys each process gets every event; of
    # PostgreSQL's log one process gets all, and the others stand by.
    #
    # Every execution gets its own instance of the class, so two share nothing but what the class shares on purpose.
    # Methods, instance variables and constants of a subclass may have any name. A subclass inherits what the class
    # above says, and may say otherwise. What it says is checked by {start}.
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
        # Names the stream whose events it handles, and the group.
        # @param name [String, Symbol] the stream's name: the Redis key
        # @param options [Hash] `group:` is the name of the group, which must be given; `from:` says where a group
        #   begins that is not there yet: `:new` (the default), `:beginning`, a Time or an id; `json:` names the field
        #   that holds JSON, or is false if none is to be decoded; `type:` names the field that holds the type
        # @return [self]
        # @example The entries of another program
        #   stream "sensors", group: "alarms", json: "payload", type: "event"
        def stream(name, **options)
          ConsumerState.of(self).say_source(:stream, name, options)
          self
        end

        # Names the channels of Pub/Sub whose messages it handles. Redis keeps none of them: what is published while no
        # subscription stands is missed, and told to {on_loss}. Each process that starts the class gets every message.
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

        # Names patterns of channels, as {channel} names channels.
        # @param patterns [Array<String>] with `*`, `?` and `[...]`, as Redis has them
        # @param options [Hash] as for {channel}
        # @return [self]
        # @example
        #   pattern "prices.*"
        def pattern(*patterns, **options)
          ConsumerState.of(self).say_source(:pattern, patterns, options)
          self
        end

        # Names channels of Pub/Sub that belong to shards of a Redis Cluster, as {channel} names channels: `SPUBLISH`
        # publishes to them. The subscription follows a channel to the node that serves it.
        # @param names [Array<String, Symbol>] the channels
        # @param options [Hash] as for {channel}
        # @return [self]
        # @example
        #   shard_channel "prices"
        def shard_channel(*names, **options)
          ConsumerState.of(self).say_source(:shard_channel, names, options)
          self
        end

        # Names patterns of keys, and handles what happens to these: keyspace notifications, from each node that serves
        # keys. They are best effort: Redis tells what it notices, and keeps none of it.
        # @param patterns [Array<String>] with `*`, `?` and `[...]`, as Redis has them
        # @param options [Hash] `on:` is what must happen (`%i[expired del]`), else anything; `value: true` reads the
        #   value of the key after that; `overflow:` is as for {channel}
        # @return [self]
        # @example
        #   keys "session:*", on: %i[expired del]
        def keys(*patterns, **options)
          ConsumerState.of(self).say_source(:keys, patterns, options)
          self
        end

        # Names a database of PostgreSQL whose changes it handles, as its write-ahead log has them: rows that were
        # inserted, updated and deleted, tables that were truncated, and logical messages. A replication slot keeps them
        # until they are done. One process at a time reads the slot; others that start the class wait, and take over.
        # @param connection [String, Hash, Symbol, nil] a URL; or options by the names of libpq (`host:`, `dbname:` and
        #   so on); or in Rails the name of a database in config/database.yml, such as `:primary`. What it does not say
        #   the environment does (PGHOST and so on)
        # @param options [Hash] `slot:` is the name of the slot, which must be given, unless `temporary: true` makes one
        #   that lives as long as the connection; `publication:` is the name of the publication (that of the slot);
        #   `tables:` are names such as `"accounts"` or `"billing.accounts"` (all of the publication); `create: true`
        #   creates the publication and the slot if they are not there; `on_slot_lost:` is `:create` (the default: the
        #   loss is told, and a new slot made) or `:raise`
        # @return [self]
        # @example
        #   wal ENV["DATABASE_URL"], tables: "accounts", slot: "ipc_accounts"
        def wal(connection = nil, **options)
          ConsumerState.of(self).say_source(:wal, connection, options)
          self
        end

        # Says in which order events are handled.
        # @param order [Symbol] `:none`, the default of a stream: any thread of any process takes the next event;
        #   `:key`: events of the same key are handled one after the other, across all processes; `:source`: all events
        #   are, which is the default of PostgreSQL's log; `:channel`, the default of channels and patterns: messages of
        #   the same channel are, in each process. Of `keys` the default is `:key`, in each process
        # @param options [Hash] of `:key`: `by:` names the field that holds the key, or the part of the data (else it is
        #   the key that {Events.publish} was given), and `lanes:` is into how many parts keys are divided among
        #   processes (64). Or `partitions:` is over how many streams, `orders:0`, `orders:1` and so on, publishers
        #   spread the events: each process reads only those that it has. Of both orders: `then: :hold_key` lets the
        #   later events of a key wait after one of them has become a dead letter, until someone has that tried again or
        #   discards it
        # @return [self]
        # @example
        #   order :key, by: "order_id"
        # @example What `publish "orders", ..., partitions: 16` has spread over 16 streams
        #   order :key, partitions: 16
        def order(order, **options)
          ConsumerState.of(self).say(:order, [order, options])
          self
        end

        # Says how many events are handled at the same time in a process.
        # @param options [Hash] `threads: 5`, or `fibers: 50`, which needs the gem async, or `processes: 2`, perhaps
        #   with `threads:` in each, or `ractors: 3` (Ruby 3.4 and later, experimental); docs/events.md says for which
        #   handlers
        # @return [self]
        def concurrency(**options)
          ConsumerState.of(self).say(:concurrency, options)
          self
        end

        # Handles events in batches: `call` gets an Array of them. If it raises, the batch is split in two, and each
        # half tried on its own, until the events that fail are found. If `retry_on` names what it raised, all its
        # events are tried again later instead.
        # @param options [Hash] `size:` is how many events at most; `within: 0.2` is how many seconds a batch may take
        #   to fill
        # @return [self]
        # @example
        #   batch size: 500, within: 0.2
        #   def call(events) = Index.bulk(events).failures.each { |event, why| event.fail!(why) }
        def batch(**options)
          ConsumerState.of(self).say(:batch, options)
          self
        end

        # Runs the handler of each event (or batch) in a transaction of a database, in which a row says that the event
        # is done. An event that Redis delivers again is known by its row, and its handler does not run: what the
        # handler writes to that database is written once. Effects elsewhere may be repeated.
        # @param record [Class, false] a class of ActiveRecord with a connection, to PostgreSQL or SQLite; false: none
        # @param options [Hash] `keep:` is for how many seconds rows stay at least (86,400); `server:` is what the
        #   tables call the Redis server, for consumers of several that have the same stream and group
        # @return [self]
        # @example
        #   exactly_once ActiveRecord::Base
        def exactly_once(record, **options)
          ConsumerState.of(self).say(:exactly_once, [record, options])
          self
        end

        # Tries events again whose handler raised one of these. Of several rules that of the most specific class counts;
        # of the same class the later one. An exception without a rule is tried again, too, with the option `attempts:`
        # of {start}.
        # @param classes [Array<Class, Module>] classes of exceptions
        # @param options [Hash] `wait:` is a number of seconds, a Proc that returns seconds for an attempt, or
        #   `:exponential` (1, 2, 4 and so on up to an hour, and up to 15 % more at random), the default; `attempts:` is
        #   how often an event is tried before it is given up on: of a stream it becomes a dead letter then
        # @return [self]
        # @example
        #   retry_on Net::ReadTimeout, Errno::ECONNREFUSED, wait: ->(attempt) { attempt * 10 }, attempts: 20
        def retry_on(*classes, **options)
          ConsumerState.of(self).add_rules(:retry, classes, options)
          self
        end

        # Drops events whose handler raised one of these.
        # @param classes [Array<Class, Module>] classes of exceptions
        # @return [self]
        def discard_on(*classes)
          ConsumerState.of(self).add_rules(:discard, classes, {})
          self
        end

        # Handles events of a type. The block runs in a new instance of the class; `return` works inside it. Events of
        # other types go to the method `call`; without one they are passed over.
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

        # Has an object handle the events for which there is no {on}, instead of the method `call`: anything with
        # `process(event)`. All threads share the object. Of a class that has no `process` of its own an object is made
        # for each event.
        #
        # If it returns an object with `failure?`, as the handlers of the gem cdc-core do, that fails the event.
        # @param processor [#process, Class]
        # @param options [Hash] `cdc:` is whether it gets {ChangeEvent#to_cdc}; without it, handlers of the gem cdc-core
        #   get that
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

        # Sets the block that is told of errors: exceptions of events that are given up on, lost connections. It keeps
        # its own `self`.
        # @yieldparam exception [Exception] what happened
        # @return [self]
        # @raise [ArgumentError] without a block
        def on_error(&block)
          raise ArgumentError, "on_error needs a block" unless block

          ConsumerState.of(self).say(:on_error, block)
          self
        end

        # Sets the block that is told what may be missing. Without one, the log tells it. It keeps its own `self`.
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

        # Adds middleware that surrounds the handler, from the next {start} on. That of a class above is outside of a
        # subclass's. An exception that it raises counts as the handler's.
        # @param link [#call, nil] instead of a block
        # @yieldparam event [ChangeEvent, Array<ChangeEvent>] an Array in a consumer with batches
        # @yieldparam handler [#call]
        # @return [self]
        # @example
        #   around_event { |event, handler| Sentry.with_scope { handler.call } }
        def around_event(link = nil, &block)
          ConsumerState.of(self).middleware.add(link, &block)
          self
        end

        # Gives each worker (a thread, or one of the places for fibers) an object of its own, such as a connection. It
        # is made by the block when a handler first asks for its {#resource}, and closed (`close`) when the worker ends.
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

        # Starts to handle events in this process. Returns when Redis is connected, and the group is there; or the
        # subscription stands; or PostgreSQL is connected, and the slot is read or another process has it.
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
        # Of channels and keys `attempts` is 1 unless it is given. Of PostgreSQL it is 1,000, and `prefetch` is 1,000.
        # @param options [Hash] merged over the defaults and over what {options} says, nested Hashes too;
        #   `redis_options:` replace those of {options} whole, so that no password goes to another Redis
        # @return [self]
        # @raise [ConfigurationError] if an option, or what the class says, is unknown, of the wrong type or
        #   contradicts something else
        # @raise [ConnectionError] if Redis, or PostgreSQL, cannot be reached, or the class is started already
        # @raise [CommandError] if Redis, or PostgreSQL, refuses
        # @raise [ThreadLimitError] if a thread cannot be started; nothing stays connected
        # @raise [Error] if a worker process cannot be forked; nothing stays connected
        def start(**options)
          ConsumerState.of(self).start(options)
          self
        end

        # Stops in order: takes no more events, lets handlers that run finish, and hands back at once what was not
        # started. Of channels and keys that is dropped, because nothing keeps it. May be called again, and before
        # {start}.
        # @param timeout [Numeric] seconds that handlers are given
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

        # Handles no more events until {resume}. Handlers that run go on. Other processes of the group go on, too.
        # @param key [String, Symbol, Integer, nil] pauses only the events of this key, while this process has it
        # @return [self]
        # @raise [NotConnectedError] if it is not started
        # @raise [ConfigurationError] if a key is given, and it is no stream with an order by key
        def pause(key: nil)
          started = ConsumerState.of(self).started
          key.nil? ? started.pause : started.pause_key(key, true)
          self
        end

        # @param key [String, Symbol, Integer, nil] lets only the events of this key go on
        # @return [self]
        # @raise (see pause)
        def resume(key: nil)
          started = ConsumerState.of(self).started
          key.nil? ? started.resume : started.pause_key(key, false)
          self
        end

        # @return [Boolean] whether it is paused
        def paused?
          ConsumerState.of(self).runner ? ConsumerState.of(self).runner.paused? : false
        end

        # @return [Hash{Symbol => Integer}] the counters since {start}; docs/events.md explains each
        # @raise [NotConnectedError] if it was never started in this process
        def stats
          ConsumerState.of(self).started.stats
        end

        # @return [Integer, nil] how many entries of the stream, or of all partitions together, the group has not been
        #   delivered yet; of PostgreSQL how many bytes of the log the slot has not been confirmed; nil if the server
        #   cannot tell
        # @raise [ConnectionError] if the server cannot be reached, or it is not started
        # @raise [ConfigurationError] if it is one of channels or keys
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
