# frozen_string_literal: true

module RedisIPC
  module Events
    # The state that the gem keeps for one consumer class: its declarations, and what runs. It is a separate object,
    # because the methods, instance variables and constants of the class are the user's.
    # @api private
    class ConsumerState
      # The class's instance variable that holds its state.
      KEY = :@__redis_ipc_events
      private_constant :KEY

      @lock = Monitor.new

      class << self
        # @param consumer_class [Class]
        # @return [ConsumerState]
        def of(consumer_class)
          consumer_class.instance_variable_get(KEY) || @lock.synchronize do
            consumer_class.instance_variable_get(KEY) || consumer_class.instance_variable_set(KEY, new(consumer_class))
          end
        end
      end

      # @return [Class]
      attr_reader :consumer_class
      # @return [String, nil] the name in messages of a class without a name
      attr_writer :name

      def initialize(consumer_class)
        @consumer_class = consumer_class
        @words = {}
        @sources = {}
        @handlers = {}
        @rules = []
        @options = {}
        @middleware = Middleware.new
        @lifecycle = Mutex.new
      end

      # Records a declaration of the class. {#start} checks it.
      # @param word [Symbol]
      # @param said [Object]
      def say(word, said)
        @words[word] = said
      end

      # Records a declared source.
      # @param kind [Symbol] the declaration
      # @param names [Object]
      # @param options [Hash]
      def say_source(kind, names, options)
        @sources[kind] = [names, options]
      end

      # @return [Hash{Symbol => Array}] the sources that this class declares, or its nearest superclass that declares
      #   any
      def sources
        @sources.empty? && parent ? parent.sources : @sources
      end

      # Adds `retry_on` or `discard_on`.
      def add_rules(action, classes, options)
        @rules << [action, classes, options]
      end

      # @return [Symbol] the name of the method to be made of the block
      def add_handler(type)
        @handlers[type] = :"event #{type}"
      end

      def add_options(options)
        @options = Settings.override(@options, options)
      end

      # @return [Middleware] the class's own
      attr_reader :middleware

      # @return [Object, nil] the declaration of this class, or of its nearest superclass that has one
      def said(word)
        @words.fetch(word) { parent&.said(word) }
      end

      # @return [Hash{String => Symbol}] the methods for the types, including those of superclasses
      def handlers
        (parent&.handlers || {}).merge(@handlers)
      end

      # @return [Array<Array>] those of the outermost superclass come first
      def rules
        (parent&.rules || []) + @rules
      end

      # @return [Hash] the options of `start`
      def options
        Settings.override(parent&.options || {}, @options)
      end

      # @return [Array<#call>] those of the outermost superclass come first
      def links
        (parent&.links || []) + @middleware.to_a
      end

      # @return [#call, nil] the `on_error` of this class
      def own_error_handler
        @words[:on_error]
      end

      # @param handler [#call, nil]
      def own_error_handler=(handler)
        handler ? @words[:on_error] = handler : @words.delete(:on_error)
      end

      # @return [String]
      def name
        @name || consumer_class.name || ErrorText.shown(consumer_class)
      end

      # @param given [Hash] the options of `start`
      # @raise [ConfigurationError]
      # @raise [ConnectionError]
      # @param paused [Boolean] whether it begins paused
      def start(given, paused: false)
        @lifecycle.synchronize do
          raise ConnectionError, "#{name} is started already" if running?

          @runner = Runner.new(setup(given)).start(paused: paused)
        end
      end

      # @param given [Hash] the options of `start`
      # @return [Setup]
      # @raise [ConfigurationError]
      def setup(given)
        Setup.new(self, Settings.override(options, given))
      end

      # Takes over the running consumer of a class that this one replaces when code is reloaded. That consumer runs the
      # code of this class from now on.
      # @param other [ConsumerState]
      # @param fresh [Setup] that of this class
      # @return [Boolean] false if the running consumer does not fit the declarations of this class and must be
      #   restarted
      def take_over(other, fresh)
        running = other.runner.setup
        running.adopt(fresh)
        return false unless running.same_session?(fresh)

        @runner = other.give_up
        true
      end

      # Does the same in a worker process, which has the parent's consumer only to run its code.
      # @param (see #take_over)
      def follow(other, fresh)
        other.runner&.setup&.adopt(fresh)
        @runner = other.give_up
      end

      # @return [Runner]
      def give_up
        @runner.tap { @runner = nil }
      end

      def running?
        @runner ? @runner.open? : false
      end

      # @return [Runner, nil]
      attr_reader :runner

      # @return [Runner]
      # @raise [NotConnectedError]
      def started
        @runner || raise(NotConnectedError.new("#{name} is not started: call start", outcome: :not_sent))
      end

      private

      def parent
        @parent ||= (ConsumerState.of(consumer_class.superclass) if consumer_class < Consumer)
      end
    end
    private_constant :ConsumerState
  end
end
