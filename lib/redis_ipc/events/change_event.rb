# frozen_string_literal: true

require "time"

module RedisIPC
  # A change event tells what happened at a source: an entry of a Redis Stream, a message of a channel, or a row that
  # changed in PostgreSQL. It is frozen, and decoded when it is read.
  #
  # Marshal dumps it as a value.
  #
  # @example
  #   event.type           #=> "order.created"
  #   event["order_id"]    #=> 7
  #   event.position       #=> "1767225600000-0"
  #   event.attempt        #=> 1
  class ChangeEvent
    # Stands for data that nobody has looked at: no data is a Symbol.
    UNREAD = :unread
    # What {#to_h} has beside times and the transaction.
    TO_H = %i[source kind operation type key data old changes position guarantee attempt fence metadata].freeze
    private_constant :UNREAD, :TO_H

    # @param native [Native::StreamEvent]
    # @param format [Events::SourceFormat] how the fields are read
    # @api private
    def initialize(native, format)
      @native = native
      @format = format.of(native)
      # The data once it was decoded, and what it was marked with. A copy of which this is frozen too decodes each time.
      @memo = [UNREAD, nil]
      freeze
    end

    # @return [String] the name of the stream (with partitions that of the partition, such as `"orders:3"`), of the
    #   channel, of the database (`"db0"`), or of the database and the slot of PostgreSQL
    def source
      @format.source_of(@native)
    end

    # @return [Symbol] the kind of source: `:stream`, `:pubsub`, `:sharded_pubsub`, `:keyspace` or `:wal`
    def kind
      @format.kind
    end

    # @return [Symbol] what was done: `:message`; to a key `:update`, or `:delete` if it is gone; in PostgreSQL
    #   `:insert`, `:update`, `:delete`, `:truncate` or `:message`
    def operation
      @format.operation(@native)
    end

    # @return [String, nil] the application's name of it, such as `"order.created"`; what happened to a key, such as
    #   `"expired"`
    def type
      @format.type(@native) { data }
    end

    # @return [String, nil] what it belongs to, such as the id of an order: the key that {Events.publish} was given, or
    #   what `order :key, by:` names; the key of which Redis tells; in PostgreSQL the key of the row, several columns as
    #   JSON. Nil of a message
    def key
      @format.key(@native) { data }
    end

    # Returns what is known of the new state: what the JSON holds, the fields of a foreign entry as Strings, the text of
    # a message, or the columns of a row. Of a key it is `{"value" => ...}` if its value was asked for and is there,
    # else nil. Hash keys are Strings. All of it is frozen.
    # @return [Object]
    # @raise [MalformedEntryError] if it should be JSON and is not. Leave it to be raised: the event is then given up on
    def data
      data = @memo.first
      return data unless UNREAD.equal?(data)

      data = @format.data(@native)
      @memo[0] = data unless @memo.frozen?
      data
    end

    # Returns what is known of the old state: of a row of PostgreSQL that was updated or deleted. What that is depends
    # on the table's replica identity. All of it is frozen.
    # @return [Hash{String => Object}, nil] nil if nothing is known, and of entries and messages
    def old
      @format.old(@native)
    end

    # Returns what differs between the old and the new state, as far as the old one is known.
    # @return [Hash{String => Array}, nil] the old and the new value by name; nil if nothing is known of the old state,
    #   or there is no new one
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
    # @param default [Object] what is returned without it
    # @yieldparam name [String, Integer] called without it, if there is no default
    # @return [Object]
    # @raise [KeyError] without it, a default and a block; of an Array an IndexError
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

    # @return [String, nil] the entry's id, `"ms-sequence"`. Two partitions may have the same one. Of a change in
    #   PostgreSQL the position of its commit in the log (LSN), `"16/B374D848"`. Nil of a message and of a key: it
    #   cannot be had again
    def position
      @format.position(@native)
    end

    # @return [Time] when it got into the stream, on Redis's clock; of a change when it was committed; of a message when
    #   it was received
    def occurred_at
      Time.at(0, @native.ms, :millisecond)
    end

    # @return [Time] when this process read it
    def received_at
      Time.at(0, @native.received_ms, :millisecond)
    end

    # @return [Symbol] `:at_least_once`: it may run more than once, and is not lost while the stream, or the slot, has
    #   it. `:at_most_once`: it can be missed, and comes once
    def guarantee
      @format.guarantee
    end

    # @return [Integer] which try this is, from 1 on. Of a stream attempts count on when the process dies
    def attempt
      @native.deliveries
    end

    # @return [Boolean] whether it may have run before
    def redelivered?
      @native.redelivered?
    end

    # Returns the epoch of this process's right to handle the events of this key. It grows with each process that has
    # it, so a sink that has seen a higher one can refuse a stale writer.
    # @return [Integer, nil] nil without an order, and of all that comes from no stream
    def fence
      @native.fence
    end

    # @return [Events::Transaction, nil] the transaction of PostgreSQL that it belongs to; nil of entries and messages
    def transaction
      @format.transaction(@native)
    end

    # Returns what only this kind of source knows. Of an entry `fields`, all fields as they are, and `traceparent` if it
    # has one; with partitions `stream`, the name of all of them together, and `partition`, the number of this one. Of a
    # message `node`, the server's address, and `pattern` if it came by one. Of a key `node`, `event`, and `value_state`
    # if its value was asked for: `:present`, `:gone` or `:unknown`. Of a change in PostgreSQL `schema`, `table`, `xid`
    # and others (docs/postgres.md).
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

    # Marks this event as failed, while the other events of its batch have succeeded. After the handler has returned, it
    # is tried again or given up on, as if the handler had raised that for it.
    # @param why [Exception, String] `retry_on` and `discard_on` go by the class of an exception
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

    # @return [Native::StreamEvent, Events::StoredEvent] the core's event, or what stands in for it
    # @api private
    attr_reader :native

    # @return [Exception, nil] what it was marked with
    # @api private
    def failure
      @memo[1]
    end

    # @return [Hash{String => Object}] all of it, as JSON can hold it: times as ISO 8601, Symbols as Strings; bytes that
    #   are no UTF-8 are replaced
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

    # Shows no data.
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
