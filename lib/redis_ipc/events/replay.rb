# frozen_string_literal: true

module RedisIPC
  module Events
    # A replay handles the events of a stream once more, with the handlers of a consumer class and a group of its own
    # ({Events.replay}).
    class Replay < Subscription
      # The last position that is replayed. It becomes known when the replay is connected, before any handler runs.
      class Limit
        # @return [String] `"ms-sequence"`
        attr_writer :position

        # @param position [String]
        # @return [Boolean] whether it is replayed
        def covers?(position)
          @position.nil? || (parts(position) <=> parts(@position)) <= 0
        end

        # @return [Boolean] whether a group is at the end once this was delivered to it
        def reached?(position)
          !@position.nil? && (parts(position) <=> parts(@position)) >= 0
        end

        private

        def parts(position)
          position.split("-").map(&:to_i)
        end
      end
      private_constant :Limit

      # Seconds between two checks whether the replay has ended.
      LOOK = 0.2
      ENDS = %i[now never].freeze
      private_constant :LOOK, :ENDS

      # @param consumer [Class]
      # @param group [String, Symbol]
      # @param words [Hash] `from:`, `until:` and the options of `start`
      # @api private
      def initialize(consumer, group, words) # rubocop:disable Lint/MissingSuper -- it has another consumer
        words = words.dup
        @ends = words.delete(:until) || :now
        check(consumer, group)
        @limit = Limit.new
        @mutex = Mutex.new
        @changed = ConditionVariable.new
        prepare(consumer, group, words.delete(:from))
        begin_with({ reconnect_after_fork: false, **words })
      end

      # Waits until the replay has ended: everything up to its end was handled or is a dead letter, or it was stopped.
      # @param timeout [Numeric, nil] seconds; nil waits for ever
      # @return [Boolean] whether everything was handled
      # @raise [ArgumentError] if the timeout is no number of seconds
      def wait(timeout = nil)
        seconds = Monotonic.wait_time(timeout)
        deadline = seconds && (Monotonic.now + seconds)
        @mutex.synchronize do
          until ended?
            left = deadline && (deadline - Monotonic.now)
            break if left && left <= 0

            @changed.wait(@mutex, [left, LOOK].compact.min)
          end
        end
        finished?
      end

      # @return [Boolean] whether everything up to its end was handled or is a dead letter
      def finished?
        @finished ? true : false
      end

      private

      def check(consumer, group)
        unless consumer.is_a?(Class) && consumer < Consumer
          raise ArgumentError, "replay needs a subclass of RedisIPC::Events::Consumer, got #{consumer.inspect}"
        end

        Check.refuse("until: of replay must be :now or :never, got #{@ends.inspect}") unless ENDS.include?(@ends)
        sources = ConsumerState.of(consumer).sources
        Check.refuse("replay needs a stream: #{sources.keys.first} keeps no events") if (sources.keys - [:stream]).any?
        own = sources[:stream]&.last&.fetch(:group, nil)
        return unless own.to_s == group.to_s

        Check.refuse("a replay needs a group of its own; to move #{LogText.of(own.to_s)} itself use checkpoint.seek")
      end

      # Makes a class of its own, so that the replayed one can run at the same time.
      def prepare(consumer, group, from)
        name, options = ConsumerState.of(consumer).sources.fetch(:stream, [nil, {}])
        @stream_name = name.to_s
        @group_name = group.to_s
        @consumer = Class.new(consumer)
        state = ConsumerState.of(@consumer)
        state.name = "the replay of #{ConsumerState.of(consumer).name}"
        state.say(:limit, @limit)
        @consumer.stream(name, **options, group: group, from: from)
      end

      def begin_with(options)
        state = ConsumerState.of(@consumer)
        state.start(options, paused: true)
        @runner = state.runner
        @limit.position = @runner.progress.first if @ends == :now
        resume
        @watch = Thread.new { watch } if @ends == :now
        ThreadPool.name_thread(@watch, "replay #{group_name}") if @watch
        begun = true
      ensure
        @consumer.stop(timeout: 0) unless begun
      end

      # Whether the replay is at its end, or was stopped.
      def ended?
        @finished || !(@watch ? @watch.alive? : running?)
      end

      # Stops the replay when it is at its end.
      def watch
        until at_end?
          sleep LOOK
          return unless running?
        end
        made_group = @runner.made_group?
        @consumer.stop
        delete_group if made_group
        @mutex.synchronize do
          @finished = true
          @changed.broadcast
        end
      rescue NotConnectedError
        # The replay was stopped.
      end

      def at_end?
        _, delivered, pending = @runner.progress
        pending.zero? && (@limit.reached?(delivered) || @runner.lag.eql?(0))
      rescue NotConnectedError
        raise
      rescue CallError
        # The consumer itself reports if Redis cannot be reached.
        false
      end

      def delete_group
        setup = @runner.setup
        Publishers.with(setup.redis_options) do |publisher|
          publisher.delete_group(stream_name, group_name, setup.partitions)
        end
        setup.exactly_once&.forget
      rescue StandardError => e
        @runner.report(e)
      end
    end
  end
end
