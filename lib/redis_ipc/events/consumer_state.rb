# frozen_string_literal: true

module RedisIPC
  module Events
    # The state that the gem keeps for one consumer class: what it says of itself, and what runs. It is an object of its
    # own, because the methods, instance variables and constants of the class are the user's.
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
      # @return [String, nil] what messages call a class without a name
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

      # Sets a word of the class. It is checked when the class is started.
      # @param word [Symbol]
      # @param said [Object]
      def say(word, said)
        @words[word] = said
      end

      # Sets where events come from.
      # @param kind [Symbol] the word
      # @param names [Object]
      # @param options [Hash]
      def say_source(kind, names, options)
        @sources[kind] = [names, options]
      end

      # @return [Hash{Symbol => Array}] what this class or the nearest one above said of where events come from, by word
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

      # @return [Object, nil] what this class or the nearest one above said
      def said(word)
        @words.fetch(word) { parent&.said(word) }
      end

      # @return [Hash{String => Symbol}] the methods of the types, those of the classes above too
      def handlers
        (parent&.handlers || {}).merge(@handlers)
      end

      # @return [Array<Array>] the outermost class's first
      def rules
        (parent&.rules || []) + @rules
      end

      # @return [Hash] the options of `start`
      def options
        Settings.override(parent&.options || {}, @options)
      end

      # @return [Array<#call>] the outermost class's first
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

      # Takes over what the class runs that this one replaces when code is reloaded. What that class runs, runs this
      # one's code from now on.
      # @param other [ConsumerState]
      # @param fresh [Setup] this class's
      # @return [Boolean] false if this class needs something else to be started than what the other runs
      def take_over(other, fresh)
        running = other.runner.setup
        running.adopt(fresh)
        return false unless running.same_session?(fresh)

        @runner = other.give_up
        true
      end

      # Does so in a worker process, which has the parent's consumer only to run its code.
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
