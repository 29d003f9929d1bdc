# frozen_string_literal: true

module RedisIPC
  # Named events over a {Stream}. Each subclass is one group on one stream.
  #
  # Every execution of an event gets its own instance of the class, so events share nothing but what the class
  # shares on purpose; methods of the class can be called from its events.
  #
  # @example
  #   class Kitchen < RedisIPC::Channel
  #     stream "electric_household"
  #     channel "kitchen"
  #
  #     event("cook", params: [:dish]) do
  #       return "We have no #{params[:dish]}" unless params[:dish] == "pasta"
  #
  #       "#{params[:dish]} for #{source_group}"
  #     end
  #   end
  #
  #   Kitchen.connect
  #   Kitchen.trigger_event("cook", target: "kitchen", params: { dish: "pasta" }).value
  class Channel
    # The listed params of one event, readable by String or Symbol.
    class Params
      # @api private
      def initialize(values)
        @values = values.freeze
      end

      # @param key [String, Symbol]
      # @return [Object, nil]
      def [](key)
        @values[key.to_sym]
      end

      # @param key [String, Symbol]
      # @return [Object] as Hash#fetch
      def fetch(key, *default, &block)
        @values.fetch(key.to_sym, *default, &block)
      end

      # @param key [String, Symbol]
      # @return [Boolean] whether it was sent
      def key?(key)
        @values.key?(key.to_sym)
      end

      # @param key [String, Symbol]
      # @return [Object, nil] as Hash#dig
      def dig(key, *rest)
        @values.dig(key.to_sym, *rest)
      end

      # @return [Hash{Symbol => Object}]
      def to_h
        @values.dup
      end

      # @return [String]
      def inspect
        @values.inspect
      end
    end

    # An event: its name and the params it may read.
    # @api private
    Event = Struct.new(:name, :params, :method_name)
    # The class that answers on a connection: another one, once code has been reloaded.
    # @api private
    Server = Struct.new(:channel)
    private_constant :Event, :Server

    class << self
      # What connects a channel that is used and not connected (Rails); nil leaves that to the user.
      # @api private
      attr_accessor :connector

      # Sets or returns the stream's name; a subclass inherits it.
      # @param name [String, Symbol, nil]
      # @return [String, Symbol, nil]
      def stream(name = nil)
        @stream_name = name unless name.nil?
        @stream_name || inherited_setting(:stream)
      end

      # Sets or returns the group's name; a subclass inherits it.
      # @param name [String, Symbol, nil]
      # @return [String, Symbol, nil]
      def channel(name = nil)
        @group_name = name unless name.nil?
        @group_name || inherited_setting(:channel)
      end
      alias group channel

      # Sets what is told of errors (see {Stream#on_error}); a subclass inherits it.
      # @yieldparam exception [Exception]
      # @return [self]
      def on_error(&block)
        raise ArgumentError, "on_error needs a block" unless block

        @error_handler = block
        self
      end

      # Surrounds the channel's calls (see {RedisIPC.around_request}), from the next {connect} on; a subclass inherits
      # it, outside of its own.
      # @param (see RedisIPC.around_request)
      # @yieldparam (see RedisIPC.around_request)
      # @return [self]
      def around_request(link = nil, &block)
        own_middleware(:request).add(link, &block)
        self
      end

      # Surrounds the channel's events (see {RedisIPC.around_handler}), from the next {connect} on; a subclass inherits
      # it, outside of its own.
      # @param (see RedisIPC.around_handler)
      # @yieldparam (see RedisIPC.around_handler)
      # @return [self]
      def around_handler(link = nil, &block)
        own_middleware(:handler).add(link, &block)
        self
      end

      # Defines an event. The block runs in a new instance of the class; what it returns is the answer, and `return`
      # works inside it. If it raises, the event is rejected with the exception's class and message.
      # @param name [String, Symbol]
      # @param params [Array<String, Symbol>] the keys of the params it may read; others are left out
      # @return [Symbol] the name
      # @raise [ArgumentError] for a blank name, params that are no list of names, or a missing block
      def event(name, params: [], &block)
        raise ArgumentError, "the event #{name.inspect} needs a block" unless block
        raise ArgumentError, "the event's name cannot be blank" if name.to_s.strip.empty?
        unless params.is_a?(Array) && params.all? { |key| key.is_a?(String) || key.is_a?(Symbol) }
          raise ArgumentError, "params must be an Array of Strings or Symbols"
        end

        method_name = :"event #{name}"
        define_method(method_name, &block)
        private method_name
        own_events[name.to_s] = Event.new(name.to_s.freeze, params.map(&:to_sym).freeze, method_name).freeze
        name.to_sym
      end

      # Connects as {Stream#connect} does, and answers the events defined here and in the classes above.
      # @param serve [Boolean] false only asks: other processes answer
      # @param options [Hash]
      # @return [self]
      # @raise [ArgumentError] if `stream` or `channel` is not set
      # @raise (see Stream#connect)
      def connect(serve: true, **options)
        raise ConnectionError.new("#{self} is connected already", **place) if open?

        @server = (Server.new(self) if serve)
        @connection = build_stream(@server).connect(**options)
        self
      end

      # Disconnects as {Stream#disconnect} does.
      # @param timeout [Numeric] seconds
      # @return [self]
      def disconnect(timeout: 5)
        @connection&.disconnect(timeout: timeout)
        self
      end

      # @return [Boolean] as {Stream#connected?}
      def connected?
        @connection ? @connection.connected? : false
      end

      # Asks another channel's group to run an event and waits for its answer.
      # @param name [String, Symbol] the event
      # @param target [String, Symbol] the group to ask
      # @param params [Hash]
      # @param timeout [Numeric, nil] seconds; nil means `ledger: {entry_timeout:}`
      # @return [Response] its value is what the event returned
      # @raise (see Stream#send_to_group)
      def trigger_event(name, target:, params: {}, timeout: nil)
        connection.send_to_group(content: content_of(name, params), to: target, timeout: timeout)
      end

      # As {trigger_event}, without waiting.
      # @param (see trigger_event)
      # @return [Future]
      # @raise (see Stream#async_send_to_group)
      def async_trigger_event(name, target:, params: {}, timeout: nil)
        connection.async_send_to_group(content: content_of(name, params), to: target, timeout: timeout)
      end

      # @return [Hash{Symbol => Integer}] as {Stream#stats}
      # @raise [NotConnectedError]
      def stats
        connection.stats
      end

      # @api private
      def open?
        @connection ? @connection.open? : false
      end

      # @api private
      def serves?
        !@server.nil?
      end

      # Whether the other is the same group on the same stream.
      # @api private
      def same_place?(other)
        place == other.send(:place)
      end

      # Takes the connection over from the class this one replaces, when code is reloaded.
      # @api private
      def take_over(other)
        @connection, @server = other.send(:give_up)
        @server&.channel = self
      end

      # @api private
      def find_event(name)
        own_events[name] || inherited_setting(:find_event, name)
      end

      # @api private
      def event_names
        own_events.keys | (inherited_setting(:event_names) || [])
      end

      # @api private
      def error_handler
        @error_handler || inherited_setting(:error_handler)
      end

      # @api private
      def middleware(side)
        (inherited_setting(:middleware, side) || []) + own_middleware(side).to_a
      end

      private

      def inherited_setting(name, *arguments)
        superclass.public_send(name, *arguments) if superclass <= Channel
      end

      def own_middleware(side)
        (@middleware ||= { request: Middleware.new, handler: Middleware.new })[side]
      end

      def own_events
        @own_events ||= {}
      end

      def place
        { stream: stream&.to_s, group: channel&.to_s }
      end

      def connection
        Channel.connector&.call(self) if @connection.nil? || @connection.over?
        @connection ||
          raise(NotConnectedError.new("#{self} is not connected: call connect", outcome: :not_sent, **place))
      end

      def give_up
        [@connection, @server].tap { @connection = @server = nil }
      end

      def build_stream(server)
        raise ArgumentError, "#{self} has no stream: call stream \"name\"" unless stream
        raise ArgumentError, "#{self} has no channel: call channel \"name\"" unless channel

        handler = error_handler
        opened = Stream.new(stream, channel)
        opened.on_request { |entry| server.channel.send(:answer, self, entry) } if server
        opened.on_error(&handler) if handler
        middleware(:request).each { |link| opened.around_request(link) }
        middleware(:handler).each { |link| opened.around_handler(link) }
        opened
      end

      def content_of(name, params)
        raise ArgumentError, "the event's name cannot be blank" if name.to_s.strip.empty?
        raise ArgumentError, "params must be a Hash, got a #{params.class}" unless params.is_a?(Hash)

        { event: name.to_s, params: params }
      end

      def answer(stream, entry)
        content = entry.content
        unless well_formed?(content)
          reason = "malformed request: expected {event: name, params: {...}}"
          return stream.reject_request(entry, content: reason)
        end

        event = find_event(content[:event])
        if event
          stream.fulfill_request(entry, content: new(stream, entry, event).run)
        else
          known = event_names.sort.join(", ")
          # A stranger may have sent megabytes as a name.
          name = content[:event][0, 100].inspect
          reason = "unknown event #{name}; #{channel} knows: #{known.empty? ? "none" : known}"
          stream.reject_request(entry, content: reason)
        end
      end

      def well_formed?(content)
        content.is_a?(Hash) && content[:event].is_a?(String) && (content[:params].nil? || content[:params].is_a?(Hash))
      end
    end

    # @return [Params] the listed params of this event
    attr_reader :params
    # @return [Entry] the request behind this event
    attr_reader :entry
    # @return [String] the stream's name
    attr_reader :stream_name
    # @return [String] the group's name
    attr_reader :group_name
    # @return [String] the name of the connection that runs this event
    attr_reader :instance_id

    # @api private
    def initialize(stream, entry, event)
      @event = event
      @entry = entry
      @params = Params.new((entry.content[:params] || {}).slice(*event.params))
      @stream_name = stream.name
      @group_name = stream.group
      @instance_id = entry.engine.instance_id
    end

    # @return [String] the group that triggered the event
    def source_group
      entry.source_group
    end

    # Runs the event.
    # @api private
    def run
      send(@event.method_name)
    end
  end
end
