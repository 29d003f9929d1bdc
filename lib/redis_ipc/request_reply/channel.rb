# frozen_string_literal: true

module RedisIPC
  # A channel answers named events over a {Stream}. Each subclass is one group on one stream.
  #
  # Every execution of an event gets its own instance of the class, so events share nothing but what the class
  # shares on purpose; methods of the class can be called from its events. The gem keeps what it knows of a class and of
  # an execution in {ChannelState}, and calls no other method of an instance than `initialize`, without arguments. So
  # methods, instance variables and constants of a subclass may have any name.
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
    extend InstancePerEvent

    class << self
      # Sets the stream's name. A subclass inherits it.
      # @param name [String, Symbol]
      # @return [String, Symbol] the name
      # @raise [ArgumentError] if the name is blank or neither a String nor a Symbol
      def stream(name)
        ChannelState.of(self).stream_name = name
      end

      # Sets the group's name. A subclass inherits it.
      # @param name [String, Symbol]
      # @return [String, Symbol] the name
      # @raise [ArgumentError] if the name is blank or neither a String nor a Symbol
      def channel(name)
        ChannelState.of(self).group_name = name
      end

      # @return [String, nil] the stream's name, as set here or in the nearest class above
      def stream_name
        ChannelState.of(self).stream_name
      end

      # @return [String, nil] the group's name, as set here or in the nearest class above
      def group_name
        ChannelState.of(self).group_name
      end

      # Sets the block that is told of errors (see {Stream#on_error}). A subclass inherits it.
      # @yieldparam exception [Exception] what happened
      # @return [self]
      # @raise [ArgumentError] without a block
      def on_error(&block)
        raise ArgumentError, "on_error needs a block" unless block

        ChannelState.of(self).own_error_handler = block
        self
      end

      # Adds middleware that surrounds the channel's calls (see {RedisIPC.around_request}), from the next {connect} on.
      # A subclass inherits it, outside of its own.
      # @param (see RedisIPC.around_request)
      # @yieldparam (see RedisIPC.around_request)
      # @return [self]
      def around_request(link = nil, &block)
        ChannelState.of(self).own_middleware(:request).add(link, &block)
        self
      end

      # Adds middleware that surrounds the channel's events (see {RedisIPC.around_handler}), from the next {connect} on.
      # A subclass inherits it, outside of its own.
      # @param (see RedisIPC.around_handler)
      # @yieldparam (see RedisIPC.around_handler)
      # @return [self]
      def around_handler(link = nil, &block)
        ChannelState.of(self).own_middleware(:handler).add(link, &block)
        self
      end

      # Sets what happens when an event is sent params that it does not list. In any case they are left out. A subclass
      # inherits the setting; in a Rails application `config.redis_ipc.action_on_unlisted_params` sets it for all.
      # @param action [Symbol, false] false: nothing (the default); `:log`: a warning that names them; `:raise`: the
      #   event does not run, and is rejected with {UnlistedParamsError}
      # @return [Symbol, false]
      # @raise [ArgumentError] for anything else
      def action_on_unlisted_params=(action)
        ChannelState.of(self).unlisted_action = action
      end

      # Returns what happens when an event is sent params that it does not list.
      # @return [Symbol, false] as set here or in the nearest class above
      def action_on_unlisted_params
        action = ChannelState.of(self).unlisted_action
        return action unless action.nil?

        self < Channel ? superclass.action_on_unlisted_params : false
      end

      # Defines an event. The block runs in a new instance of the class. What it returns is the answer, and `return`
      # works inside it. If it raises, the event is rejected with the exception's class and message.
      # @param name [String, Symbol] the event's name
      # @param params [Array<String, Symbol>] the keys of the params that it may read; others are left out, see
      #   {action_on_unlisted_params=}
      # @return [Symbol] the name
      # @raise [ArgumentError] for a blank name, params that are no list of names, or a missing block
      # @example
      #   event("cook", params: [:dish]) { "#{params[:dish]} for #{source_group}" }
      def event(name, params: [], &block)
        raise ArgumentError, "the event #{name.inspect} needs a block" unless block
        raise ArgumentError, "the event's name cannot be blank" if name.to_s.strip.empty?
        unless params.is_a?(Array) && params.all? { |key| key.is_a?(String) || key.is_a?(Symbol) }
          raise ArgumentError, "params must be an Array of Strings or Symbols"
        end

        event = ChannelState.of(self).add_event(name.to_s, params.map(&:to_sym))
        define_method(event.method_name, &block)
        private event.method_name
        name.to_sym
      end

      # Connects as {Stream#connect} does, and answers the events defined here and in the classes above.
      # @param serve [Boolean] false only asks: other processes answer
      # @param options [Hash] as for {Stream#connect}
      # @return [self]
      # @raise [ArgumentError] if `stream` or `channel` is not set
      # @raise (see Stream#connect)
      def connect(serve: true, **options)
        ChannelState.of(self).connect(serve, options)
        self
      end

      # Disconnects as {Stream#disconnect} does.
      # @param timeout [Numeric] seconds that running events and answers are given
      # @return [self]
      def disconnect(timeout: 5)
        ChannelState.of(self).stream_if_any&.disconnect(timeout: timeout)
        self
      end

      # Returns whether the channel is connected, as {Stream#connected?} does.
      # @return [Boolean]
      def connected?
        opened = ChannelState.of(self).stream_if_any
        opened ? opened.connected? : false
      end

      # Asks another channel's group to run an event, and waits for its answer. Blocks only the calling thread.
      # @param name [String, Symbol] the event
      # @param target [String, Symbol] the group to ask
      # @param params [Hash, ActionController::Parameters] what the event gets; Rails's parameters must be permitted
      # @param timeout [Numeric, nil] seconds until the deadline; nil means `ledger: {entry_timeout:}`
      # @return [Response] its value is what the event returned
      # @raise (see Stream#send_to_group)
      # @example
      #   LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: "pasta" }, timeout: 2).value!
      def trigger_event(name, target:, params: {}, timeout: nil)
        state = ChannelState.of(self)
        state.connection.send_to_group(content: state.content_of(name, params), to: target, timeout: timeout)
      end

      # Asks another channel's group to run an event, and returns at once.
      # @param (see trigger_event)
      # @return [Future] the call under way
      # @raise (see Stream#async_send_to_group)
      def async_trigger_event(name, target:, params: {}, timeout: nil)
        state = ChannelState.of(self)
        state.connection.async_send_to_group(content: state.content_of(name, params), to: target, timeout: timeout)
      end

      # Returns the channel's counters, as {Stream#stats} does.
      # @return [Hash{Symbol => Integer}]
      # @raise [NotConnectedError] if the channel was never connected in this process
      def stats
        ChannelState.of(self).connection.stats
      end

      # Returns whether the group or this instance was told to take no more requests, as {Stream#paused?} does.
      # @return [Boolean]
      # @raise (see stats)
      def paused?
        ChannelState.of(self).connection.paused?
      end

      # Lists the instances that are alive on the channel's stream, of all groups, as {Stream#instances} does.
      # @return [Array<Hash>]
      # @raise (see Stream#instances)
      def instances
        ChannelState.of(self).connection.instances
      end

      # Returns the requests that a group gave up on, as {Stream#dead_letters} does.
      # @param group [String, Symbol] the channel's own unless named
      # @return [DeadLetters]
      # @raise (see Stream#dead_letters)
      def dead_letters(group: group_name)
        ChannelState.of(self).connection.dead_letters(group: group)
      end
    end

    # @return [Hash{Symbol => Object}] the listed params of this event, frozen
    def params
      ChannelState.execution_of(self).params
    end

    # @return [Entry] the request behind this event
    def entry
      ChannelState.execution_of(self).entry
    end

    # @return [String] the group that triggered the event
    def source_group
      ChannelState.execution_of(self).entry.source_group
    end

    # @return [String] the stream's name
    def stream_name
      ChannelState.execution_of(self).stream.stream_name
    end

    # @return [String] the group's name
    def group_name
      ChannelState.execution_of(self).stream.group_name
    end

    # @return [String] the name of the connection that runs this event
    def instance_id
      ChannelState.execution_of(self).entry.engine.instance_id
    end
  end
end
