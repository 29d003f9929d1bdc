# frozen_string_literal: true

module RedisIPC
  # The state that the gem keeps for one channel class: its settings and its connection. It is an object of its own,
  # because the methods, instance variables and constants of the class are the user's.
  # @api private
  class ChannelState
    # An event: its name, the params that it may read, and the name of the method made of its block.
    Event = Struct.new(:name, :params, :method_name)
    # Points to the class that answers on a connection. Reloading the code replaces the class in it.
    Server = Struct.new(:state)
    # One run of an event, for its instance of the class.
    Execution = Struct.new(:stream, :entry, :params) do
      def inspect
        "#<#{self.class} of #{entry.inspect}>"
      end
    end
    # The instance variable that holds a class's state, and an instance's execution.
    KEY = :@__redis_ipc
    # The actions on params that an event does not list.
    UNLISTED_ACTIONS = [false, :log, :raise].freeze
    # A message shows this many of their names, and this much of each, because a stranger may have sent thousands.
    SHOWN_NAMES = 10
    SHOWN_LENGTH = 100
    MALFORMED = "malformed request: expected {event: name, params: {...}}"
    ALLOCATE = Class.instance_method(:allocate)
    private_constant :Event, :Server, :Execution, :KEY, :UNLISTED_ACTIONS, :SHOWN_NAMES, :SHOWN_LENGTH, :MALFORMED,
                     :ALLOCATE

    @lock = Monitor.new
    @event_names = {}

    class << self
      # @param channel_class [Class]
      # @return [ChannelState]
      def of(channel_class)
        channel_class.instance_variable_get(KEY) || @lock.synchronize do
          channel_class.instance_variable_get(KEY) || channel_class.instance_variable_set(KEY, new(channel_class))
        end
      end

      # Notes that a channel of this process has an event of this name.
      def name_event(name)
        @lock.synchronize { @event_names = @event_names.merge(name => true).freeze }
      end

      # @param name [String] a name that anybody may have sent
      # @return [Boolean] whether a channel of this process has, or had, an event of this name
      def event_name?(name)
        @event_names.key?(name)
      end

      # @param instance [Channel]
      # @return [Execution]
      # @raise [Error] if it runs no event
      def execution_of(instance)
        instance.instance_variable_get(KEY) ||
          raise(Error, "this #{instance.class} is not running an event: only one that is has params and an entry")
      end
    end

    # @return [Class]
    attr_reader :channel_class
    # @return [Proc, nil] the class's own
    attr_accessor :own_error_handler
    # @return [Symbol, false, nil] the class's own
    attr_reader :unlisted_action
    # @return [Boolean, nil] whether it answers no more in tests
    attr_accessor :retired

    def initialize(channel_class)
      @channel_class = channel_class
      @events = {}
      @middleware = { request: Middleware.new, handler: Middleware.new }
    end

    # @return [String, nil] as set in the class or in the nearest class above
    def stream_name
      @stream_name || parent&.stream_name
    end

    # @return [String, nil] as set in the class or in the nearest class above
    def group_name
      @group_name || parent&.group_name
    end

    # @param name [String, Symbol]
    # @raise [ArgumentError]
    def stream_name=(name)
      @stream_name = Names.check("the stream name", name)
    end

    # @param name [String, Symbol]
    # @raise [ArgumentError]
    def group_name=(name)
      @group_name = Names.check("the group name", name)
    end

    # @param action [Symbol, false]
    # @raise [ArgumentError]
    def unlisted_action=(action)
      unless UNLISTED_ACTIONS.include?(action)
        raise ArgumentError, "action_on_unlisted_params must be false, :log or :raise, got #{action.inspect}"
      end

      @unlisted_action = action
    end

    # @return [ChannelState, nil] that of the class above
    def parent
      @parent ||= (ChannelState.of(channel_class.superclass) if channel_class < Channel)
    end

    # @return [Event]
    def add_event(name, params)
      ChannelState.name_event(name)
      @events[name.dup.freeze] = Event.new(name, params.freeze, :"event #{name}").freeze
    end

    # @return [Event, nil]
    def find_event(name)
      @events[name] || parent&.find_event(name)
    end

    # @return [Array<String>]
    def event_names
      @events.keys | (parent&.event_names || [])
    end

    # @param side [Symbol] `:request` or `:handler`
    # @return [Middleware]
    def own_middleware(side)
      @middleware.fetch(side)
    end

    # @return [Hash] the names of the stream and the group, for errors
    def place
      { stream: stream_name, group: group_name }
    end

    # @return [Stream, nil] the last one connected
    def stream_if_any
      @connection
    end

    # @return [Stream]
    # @raise [NotConnectedError]
    def connection
      RedisIPC.framework.connect(channel_class) if @connection.nil? || @connection.over?
      @connection ||
        raise(NotConnectedError.new("#{channel_class} is not connected: call connect", outcome: :not_sent, **place))
    end

    def connect(serve, options)
      raise ConnectionError.new("#{channel_class} is connected already", **place) if open?

      @server = (Server.new(self) if serve)
      @connection = build_stream(@server).connect(**options)
    end

    def open?
      @connection ? @connection.open? : false
    end

    def serves?
      !@server.nil?
    end

    # Takes the connection over from the class that this one replaces when code is reloaded.
    # @param other [ChannelState]
    def take_over(other)
      @connection, @server = other.give_up
      @server&.state = self
    end

    # @return [Array(Stream, Server)]
    def give_up
      [@connection, @server].tap { @connection = @server = nil }
    end

    # @param server [Server, nil]
    # @return [Stream] a new stream that is not connected
    def build_stream(server = Server.new(self))
      opened = Stream.new(named("stream", stream_name), named("channel", group_name))
      answer_with(opened, server) if server
      error_handler&.then { |handler| opened.on_error(&handler) }
      middleware(:request).each { |link| opened.around_request(link) }
      middleware(:handler).each { |link| opened.around_handler(link) }
      opened
    end

    # @return [String, nil] the name of the event that a request is for, if there is such an event
    def event_name(entry)
      content = entry.content
      find_event(content[:event])&.name if well_formed?(content)
    end

    # @return [Hash] the content of a request for an event
    # @raise [ArgumentError]
    def content_of(name, params)
      raise ArgumentError, "the event's name cannot be blank" if name.to_s.strip.empty?

      # Rails's parameters raise here unless they are permitted.
      params = params.to_h if params.respond_to?(:permitted?)
      raise ArgumentError, "params must be a Hash, got a #{params.class}" unless params.is_a?(Hash)

      { event: name.to_s, params: params }
    end

    # Answers a request with what its event returns.
    def answer(stream, entry)
      content = entry.content
      return entry.reject(MALFORMED) unless well_formed?(content)

      event = find_event(content[:event])
      return entry.reject(unknown(content[:event])) unless event

      entry.fulfill(run(event, Execution.new(stream, entry, listed(event, stream, entry).freeze)))
    end

    protected

    # @return [Proc, nil]
    def error_handler
      own_error_handler || parent&.error_handler
    end

    # @return [Array<#call>]
    def middleware(side)
      (parent&.middleware(side) || []) + own_middleware(side).to_a
    end

    private

    def answer_with(stream, server)
      stream.on_request { |entry| server.state.answer(stream, entry) }
      stream.name_events { |entry| server.state.event_name(entry) }
    end

    def named(what, name)
      name || raise(ArgumentError, "#{channel_class} has no #{what}: call #{what} \"name\"")
    end

    # Runs an event. `initialize` is the user's and may not call `super`, so the execution is set before.
    def run(event, execution)
      instance = ALLOCATE.bind_call(channel_class)
      instance.instance_variable_set(KEY, execution)
      instance.__send__(:initialize)
      instance.__send__(event.method_name)
    end

    # @return [Hash] the params that the event lists
    def listed(event, stream, entry)
      given = entry.content[:params] || {}
      listed = given.slice(*event.params)
      found_unlisted(given.keys - event.params, event, stream, entry) if listed.size < given.size
      listed
    end

    def found_unlisted(names, event, stream, entry)
      action = channel_class.action_on_unlisted_params
      return unless action

      shown = names.first(SHOWN_NAMES).map { |name| name[0, SHOWN_LENGTH].inspect }.join(", ")
      shown << " and #{names.size - SHOWN_NAMES} more" if names.size > SHOWN_NAMES
      text = "the event #{event.name.inspect} was sent params it does not list: #{shown}"
      raise UnlistedParamsError.new(text, **place, entry_id: entry.id) if action == :raise

      stream.note("request #{LogText.of(entry.id)}: #{text}")
    end

    def well_formed?(content)
      content.is_a?(Hash) && content[:event].is_a?(String) && (content[:params].nil? || content[:params].is_a?(Hash))
    end

    # The name is cut, because a stranger may have sent megabytes.
    def unknown(name)
      known = event_names.sort.join(", ")
      "unknown event #{name[0, 100].inspect}; #{group_name} knows: #{known.empty? ? "none" : known}"
    end
  end
  private_constant :ChannelState
end
