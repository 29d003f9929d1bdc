# frozen_string_literal: true

module RedisIPC
  module Events
    # A subscription is what {Events.consume} has started: a block that handles events.
    class Subscription
      include Undumpable

      # The keywords of {Events.consume} that belong to the source.
      SOURCE = %i[from json type overflow on value fields tables publication slot temporary create on_slot_lost
                  snapshot failover].freeze
      OTHER = %i[order concurrency batch retry_on discard_on on_error on_loss around_event resource
                 processor cdc exactly_once transactions forward].freeze
      private_constant :SOURCE, :OTHER

      # @return [String] the name of the stream or the slot, or the names of the channels
      attr_reader :stream_name
      # @return [String, nil] the group's name; nil without a stream
      attr_reader :group_name
      # @return [Class] the consumer class that it has made
      # @api private
      attr_reader :consumer

      # @param sources [Hash{Symbol => Object}] the given sources; only one is allowed
      # @param group [String, Symbol, nil]
      # @param words [Hash] the other keywords
      # @api private
      def initialize(sources, group, words, &handler)
        @stream_name = sources.flat_map { |word, names| word == :wal ? WalWords.label(words) : names }.join(", ")
        @group_name = group&.to_s
        @consumer = Class.new(Consumer)
        ConsumerState.of(@consumer).name = "the consumer of #{LogText.of(title)}"
        say_source(sources, group, words.slice(*SOURCE))
        say(words)
        Check.refuse("transactions: of consume needs a block") if words[:transactions] && handler.nil?
        say_handler(words, handler)
        @consumer.start(**words.except(*SOURCE, *OTHER))
      end

      # Stops like {Consumer.stop}.
      # @param timeout [Numeric] seconds for the handlers to finish
      # @return [self]
      # @raise [ArgumentError] if the timeout is no number of seconds, or negative
      def stop(timeout: 5)
        @consumer.stop(timeout: timeout)
        self
      end

      # @return [Boolean] whether it handles events in this process
      def running?
        @consumer.running?
      end

      # Handles no more events until {#resume}. Running handlers go on.
      # @param key [String, Symbol, Integer, nil] as for {Consumer.pause}
      # @return [self]
      # @raise (see Consumer.pause)
      def pause(key: nil)
        @consumer.pause(key: key)
        self
      end

      # @param key [String, Symbol, Integer, nil] as for {Consumer.resume}
      # @return [self]
      # @raise (see Consumer.pause)
      def resume(key: nil)
        @consumer.resume(key: key)
        self
      end

      # @return [Boolean] whether it is paused
      def paused?
        @consumer.paused?
      end

      # @return [Hash{Symbol => Integer}] as {Consumer.stats}
      def stats
        @consumer.stats
      end

      # @return [Integer, nil] as {Consumer.lag}
      # @raise (see Consumer.lag)
      def lag
        @consumer.lag
      end

      # @return [Checkpoint] as {Consumer.checkpoint}
      # @raise (see Consumer.checkpoint)
      def checkpoint
        @consumer.checkpoint
      end

      # @return [DeadLetters] as {Consumer.dead_letters}
      # @raise (see Consumer.dead_letters)
      def dead_letters
        @consumer.dead_letters
      end

      # @return [String]
      def inspect
        LogText.line("#<#{self.class} #{title} #{running? ? "running" : "stopped"}>")
      end

      private

      def title
        [stream_name, group_name].compact.join("/")
      end

      def say_source(sources, group, options)
        options = { group: group, **options } if sources.key?(:stream) || group
        sources.each do |word, names|
          # Keeps a Hash from becoming keywords.
          names = %i[stream wal].include?(word) ? [names] : Array(names)
          @consumer.public_send(word, *names, **options)
        end
      end

      def say(words)
        say_order(words[:order]) if words.key?(:order)
        @consumer.concurrency(**hash(words, :concurrency, "{ threads: 5 }")) if words.key?(:concurrency)
        @consumer.batch(**hash(words, :batch, "{ size: 500 }")) if words.key?(:batch)
        say_rules(words)
        say_exactly_once(words[:exactly_once]) if words.key?(:exactly_once)
        say_whom_to_tell(words)
        Array(words[:around_event]).each { |link| @consumer.around_event(link) }
      end

      def say_whom_to_tell(words)
        callable(words, :on_error) { |told| @consumer.on_error { |exception| told.call(exception) } }
        callable(words, :on_loss) { |told| @consumer.on_loss { |loss| told.call(loss) } }
      end

      def hash(words, word, example)
        given = words[word]
        return given if given.is_a?(Hash)

        Check.refuse("#{word}: of consume must be a Hash, as #{example}, got #{given.inspect}")
      end

      def callable(words, word)
        given = words[word]
        return if given.nil?
        return yield(given) if given.respond_to?(:call)

        Check.refuse("#{word}: of consume must respond to call, got #{given.inspect}")
      end

      # @param given [Symbol, Array] `[:key, { by: "order_id" }]`
      def say_order(given)
        order, options = given
        @consumer.order(order, **(options || {}))
      end

      # @param given [Class, Array] `[ActiveRecord::Base, { keep: 3600 }]`
      def say_exactly_once(given)
        record, options = given
        @consumer.exactly_once(record, **(options || {}))
      end

      def say_rules(words)
        rules(words[:retry_on]).each { |classes, options| @consumer.retry_on(*classes, **options) }
        @consumer.discard_on(*words[:discard_on]) if words.key?(:discard_on)
      end

      # @param given [Class, Array<Class>, Hash{Class => Hash}, nil]
      def rules(given)
        case given
        when nil then []
        when Hash then given.map { |one, options| [[one], rule_options(one, options)] }
        else [[Array(given), {}]]
        end
      end

      def rule_options(one, options)
        return options if options.is_a?(Hash)

        Check.refuse("retry_on: of consume needs a Hash of options for #{one}, as { wait: 1 }, got #{options.inspect}")
      end

      def say_handler(words, handler)
        if handler
          handle(words, handler)
        elsif words[:processor]
          @consumer.processor(words[:processor], **words.slice(:cdc))
        else
          @consumer.forward(**hash(words, :forward, "{ to: \"orders\" }"))
        end
      end

      # Defines the handler. The block keeps its own `self`.
      def handle(words, handler)
        ConsumerState.of(@consumer).say(:block, true)
        resource = callable(words, :resource) { |maker| @consumer.resource { maker.call } }
        call = ->(given) { resource ? handler.call(given, Resources.current) : handler.call(given) }
        words[:transactions] ? @consumer.on_transaction(&call) : @consumer.define_method(:call, &call)
      end
    end
  end
end
