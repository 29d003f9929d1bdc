# frozen_string_literal: true

require "time"

module RedisIPC
  # A change event tells what happened at a source: an entry was added to a Redis Stream, a message was published to a
  # channel, a key changed, or a row changed in PostgreSQL. It is frozen. Its data is decoded on first use.
  #
  # Marshal dumps it as a value.
  #
  # @example
  #   event.type           #=> "order.created"
  #   event["order_id"]    #=> 7
  #   event.position       #=> "1767225600000-0"
  #   event.attempt        #=> 1
  class ChangeEvent
    # Marks data that was not decoded yet. No data is a Symbol.
    UNREAD = :unread
    # What {#to_h} contains besides times and the transaction.
    TO_H = %i[source kind operation type key data old changes position guarantee attempt fence metadata].freeze
    private_constant :UNREAD, :TO_H

    # @param native [Native::StreamEvent]
    # @param format [Events::SourceFormat] how the fields are read
    # @api private
    def initialize(native, format)
      @native = native
      @format = format.of(native)
      # The data once it is decoded, and the exception of {#fail!}. A copy that freezes this, too, decodes its data each
      # time.
      @memo = [UNREAD, nil]
      freeze
    end

    # @return [String] the name of the stream (with partitions that of the partition, such as `"orders:3"`), of the
    #   channel, of the database (`"db0"`), or of the database and the slot of PostgreSQL; of an invalidation
    #   `"tracking"`
    def source
      @format.source_of(@native)
    end

    # @return [Symbol] the kind of source: `:stream`, `:pubsub`, `:sharded_pubsub`, `:keyspace`, `:tracking` or
    #   `:wal`
    def kind
      @format.kind
    end

    # @return [Symbol] what was done: `:message`; for a key `:update`, or `:delete` if the key is gone; for PostgreSQL
    #   `:insert`, `:update`, `:delete`, `:truncate` or `:message`, also of a change that was forwarded into a
    #   stream
    def operation
      @format.operation(@native)
    end

    # @return [String, nil] the application's name for it, such as `"order.created"`; for a key what happened to it,
    #   such as `"expired"`; for an invalidation `"invalidate"`, or `"flush"` if all keys are gone
    def type
      @format.type(@native) { data }
    end

    # @return [String, nil] what it belongs to, such as the id of an order. For a stream it is the key that
    #   {Events.publish} was given, or what `order :key, by:` names; for a keyspace notification or an invalidation the
    #   key in Redis; for PostgreSQL the key of the row (several columns as JSON). A message has none, nor has the
    #   invalidation of all keys
    def key
      @format.key(@native) { data }
    end

    # Returns the new state, as far as it is known: the decoded JSON, the fields of another program's entry as Strings,
    # the text of a message, or the columns of a row. For a key it is `{"value" => ...}` if the consumer asked for
    # values and the key exists, otherwise nil: a String, an Array (a list or a set) or a Hash (a hash; a sorted set by
    # member, with Floats). Hash keys are Strings. All of it is frozen.
    # @return [Object]
    # @raise [MalformedEntryError] if it should be JSON and is not. Do not rescue it: the event is then given up on
    def data
      data = @memo.first
      return data unless UNREAD.equal?(data)

      data = @format.data(@native)
      @memo[0] = data unless @memo.frozen?
      data
    end

    # Returns the old state of a row of PostgreSQL that was updated or deleted, as far as it is known. That depends on
    # the replica identity of the table. All of it is frozen.
    # @return [Hash{String => Object}, nil] nil if nothing is known, and for other sources, but for changes that
    #   were forwarded into a stream
    def old
      @format.old(@native)
    end

    # Returns what differs between the old and the new state, as far as the old one is known.
    # @return [Hash{String => Array}, nil] the old and the new value by name; nil if nothing is known about the old
    #   state, or there is no new one
    def changes
      before = old
      after = data if before
      return unless before.is_a?(Hash) && after.is_a?(Hash)

      names = before.keys.select { |name| after.key?(name) && before[name] != after[name] }
      names.to_h { |name| [name, [before[name], after[name]].freeze] }.freeze
    end

    # @param name [String, Symbol, Integer] a key of {#data}; an index if that is an Array
    # @return [Object, nil]
    # @raise (see #data)
    def [](name)
      held = data
      case held
      when Hash then held[text(name)]
      when Array then held[name] if name.is_a?(Integer)
      end
    end

    # @param name [String, Symbol, Integer] a key of {#data}; an index if that is an Array
    # @param default [Object] what to return if there is no such key
    # @yieldparam name [String, Integer] called if there is no such key and no default
    # @return [Object]
    # @raise [KeyError] if there is no such key, no default and no block; for an Array an IndexError
    # @raise (see #data)
    def fetch(name, *default, &block)
      held = data
      (held.is_a?(Array) || held.is_a?(Hash) ? held : {}).fetch(text(name), *default, &block)
    end

    # @param name [String, Symbol, Integer] a key of {#data}; an index if that is an Array
    # @param rest [Array<String, Symbol, Integer>] keys and indices within that
    # @return [Object, nil]
    # @raise (see #data)
    def dig(name, *rest)
      value = self[name]
      value.nil? || rest.empty? ? value : value.dig(*rest.map { |one| text(one) })
    end

    # @return [String, nil] for an entry its id, `"ms-sequence"`; two partitions may have the same one. For a change in
    #   PostgreSQL the position of its commit in the log (LSN), `"16/B374D848"`. Nil for a message and a key, because
    #   they cannot be read again
    def position
      @format.position(@native)
    end

    # @return [Time] for an entry when it was added, on Redis's clock; for a change when it was committed; for a message
    #   when it was received
    def occurred_at
      Time.at(0, @native.ms, :millisecond)
    end

    # @return [Time] when this process read it
    def received_at
      Time.at(0, @native.received_ms, :millisecond)
    end

    # @return [Symbol] `:at_least_once`: it may run more than once, and is not lost while the stream, or the slot, keeps
    #   it. `:at_most_once`: it may be missed, and is delivered once
    def guarantee
      @format.guarantee
    end

    # @return [Integer] the number of this try, from 1 on. For a stream the count survives the death of the process
    def attempt
      @native.deliveries
    end

    # @return [Boolean] whether it may have run before
    def redelivered?
      @native.redelivered?
    end

    # Returns the epoch of this process's right to handle the events of this key. Each process that gets the right has a
    # higher epoch, so a sink that has seen a higher one can refuse a stale writer.
    # @return [Integer, nil] nil without an order, and for all sources but streams
    def fence
      @native.fence
    end

    # @return [Events::Transaction, nil] the transaction of PostgreSQL that it belongs to; nil for messages, and for
    #   entries that are no forwarded changes
    def transaction
      @format.transaction(@native)
    end

    # Returns what only this kind of source knows:
    #
    # - an entry: `fields` (all fields as they are), `traceparent` if it has one; with partitions `stream` (their common
    #   name) and `partition` (the number of this one);
    # - a message: `node` (the server's address), and `pattern` if a pattern matched;
    # - a key: `node`, `event`, `value_state` if the consumer asked for values: `:present`, `:gone` or `:unknown`; and
    #   `fields`, the names of the fields of a hash, if it asked for these;
    # - an invalidation: `node`;
    # - a change in PostgreSQL: `schema`, `table`, `xid` and others (docs/postgres.md).
    # @return [Hash{Symbol => Object}] frozen
    def metadata
      @format.metadata(@native).freeze
    end

    # @return [Hash{Symbol => Object}] the logical stream and the partition, if there are any
    # @api private
    def place
      @format.place
    end

    # @return [String, nil] the publisher's trace context (W3C `traceparent`)
    # @api private
    def traceparent
      @format.traceparent(@native)
    end

    # @return [String, nil] the id that its publisher gave it
    # @api private
    def publisher_id
      @format.id(@native)
    end

    # Marks this event as failed, although other events of its batch have succeeded. After the handler has returned, the
    # event is tried again or given up on, as if the handler had raised this exception for it.
    # @param why [Exception, String] `retry_on` and `discard_on` look at the class of an exception
    # @return [self]
    # @raise [ArgumentError] if it is neither
    # @example
    #   Index.bulk(events).failures.each { |event, why| event.fail!(why) }
    def fail!(why)
      unless why.is_a?(Exception) || why.is_a?(String)
        raise ArgumentError, "fail! needs an Exception or a String, got a #{why.class}"
      end

      @memo[1] = why.is_a?(String) ? EventFailedError.new(why, stream: source, entry_id: position) : why
      self
    end

    # @return [Native::StreamEvent, Events::StoredEvent] the core's event, or its replacement
    # @api private
    attr_reader :native

    # @return [Exception, nil] the exception of {#fail!}
    # @api private
    def failure
      @memo[1]
    end

    # @return [Hash{String => Object}] the event in a form that JSON can hold: times as ISO 8601, Symbols as Strings;
    #   bytes that are not UTF-8 are replaced
    # @raise (see #data)
    def to_h
      names = TO_H.to_h { |name| [name.name, Events::Plain.of(public_send(name))] }
      times = { "occurred_at" => occurred_at, "received_at" => received_at }
      names.merge(times.transform_values { |time| time.utc.iso8601(3) }, "transaction" => transaction&.to_h)
    end

    # Returns it as an event of the gem cdc-core, for handlers that are written for that. docs/events.md has the table.
    # @return [CDC::Core::ChangeEvent]
    # @raise [ConfigurationError] if that gem is not loaded
    # @raise (see #data)
    def to_cdc
      Events::Cdc.event(self)
    end

    # Contains no data.
    # @return [String]
    def inspect
      known = { type: type, key: key }.compact.map { |name, value| " #{name} #{LogText.of(value)}" }.join
      LogText.line("#<#{self.class} #{[source, position].compact.join(" ")}#{known}, attempt #{attempt}>")
    end

    # @api private
    def marshal_dump
      [Events::STORED.map { |name| name == :redelivered ? redelivered? : @native.public_send(name) }, @format]
    end

    # @api private
    def marshal_load(dumped)
      values, @format = dumped
      @native = Events.stored(values)
      @memo = [UNREAD, nil]
      freeze
    end

    private

    def text(name)
      name.is_a?(Symbol) ? name.name : name
    end
  end
end
