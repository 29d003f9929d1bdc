# frozen_string_literal: true

require "time"

module RedisIPC
  # A change event tells what happened at a source: an entry of a Redis Stream, or a message of a channel. It is frozen,
  # and decoded when it is read.
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
    private_constant :UNREAD

    # @param native [Native::StreamEvent]
    # @param format [Events::EntryFormat, Events::MessageFormat] how what comes from its source is read
    # @api private
    def initialize(native, format)
      @native = native
      @format = format.of(native)
      # The data once it was decoded, and what it was marked with. A copy of which this is frozen too decodes each time.
      @memo = [UNREAD, nil]
      freeze
    end

    # @return [String] the name of the stream (with partitions that of the partition, such as `"orders:3"`), of the
    #   channel, or of the database (`"db0"`)
    def source
      @format.source_of(@native)
    end

    # @return [Symbol] the kind of source: `:stream`, `:pubsub`, `:sharded_pubsub` or `:keyspace`
    def kind
      @format.kind
    end

    # @return [Symbol] what was done: `:message`; to a key `:update`, or `:delete` if it is gone
    def operation
      @format.operation(@native)
    end

    # @return [String, nil] the application's name of it, such as `"order.created"`; what happened to a key, such as
    #   `"expired"`
    def type
      @format.type(@native) { data }
    end

    # @return [String, nil] what it belongs to, such as the id of an order: the key that {Events.publish} was given, or
    #   what `order :key, by:` names; nil of a message
    def key
      @format.key(@native) { data }
    end

    # Returns what is known of the new state: what the JSON holds, the fields of a foreign entry as Strings, or the text
    # of a message. Of a key it is `{"value" => ...}` if its value was asked for and is there, else nil. Hash keys are
    # Strings. All of it is frozen.
    # @return [Object]
    # @raise [MalformedEntryError] if it should be JSON and is not. Leave it to be raised: the event then goes to the
    #   dead letters
    def data
      data = @memo.first
      return data unless UNREAD.equal?(data)

      data = @format.data(@native)
      @memo[0] = data unless @memo.frozen?
      data
    end

    # @return [nil] what is known of the old state: an entry of a stream has none
    def old; end

    # @return [nil] what differs between the old and the new state: an entry of a stream has no old one
    def changes; end

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

    # @return [String, nil] the entry's id, `"ms-sequence"`. Two partitions may have the same one. Nil of a message and
    #   of a key: it cannot be had again
    def position
      @format.position(@native)
    end

    # @return [Time] when it got into the stream, on Redis's clock; of a message when it was received
    def occurred_at
      Time.at(0, @native.ms, :millisecond)
    end

    # @return [Time] when this process read it
    def received_at
      Time.at(0, @native.received_ms, :millisecond)
    end

    # @return [Symbol] `:at_least_once`: it may run more than once, and is not lost while the stream has it.
    #   `:at_most_once`: it can be missed, and comes once
    def guarantee
      @format.guarantee
    end

    # @return [Integer] which try this is, from 1 on. Attempts count on when the process dies
    def attempt
      @native.deliveries
    end

    # @return [Boolean] whether it may have run before
    def redelivered?
      @native.redelivered?
    end

    # Returns the epoch of this process's right to handle the events of this key. It grows with each process that has
    # it, so a sink that has seen a higher one can refuse a stale writer.
    # @return [Integer, nil] nil without an order
    def fence
      @native.fence
    end

    # @return [nil] the transaction it belongs to: an entry of a stream belongs to none
    def transaction; end

    # Returns what only this kind of source knows. Of an entry `fields`, all fields as they are, and `traceparent` if it
    # has one; with partitions `stream`, the name of all of them together, and `partition`, the number of this one. Of a
    # message `node`, the server's address, and `pattern` if it came by one. Of a key `node`, `event`, and `value_state`
    # if its value was asked for: `:present`, `:gone` or `:unknown`.
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
      { "source" => source, "kind" => kind.name, "operation" => operation.name, "type" => type, "key" => key,
        "data" => plain(data), "old" => old, "changes" => changes, "position" => position,
        "occurred_at" => occurred_at.utc.iso8601(3), "received_at" => received_at.utc.iso8601(3),
        "guarantee" => guarantee.name, "attempt" => attempt, "fence" => fence, "transaction" => transaction,
        "metadata" => plain(metadata) }
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

    def plain(value)
      case value
      when Hash then value.to_h { |name, one| [ErrorText.utf8(name), plain(one)] }
      when Array then value.map { |one| plain(one) }
      when String then ErrorText.utf8(value)
      else value
      end
    end
  end
end
