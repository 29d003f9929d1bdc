# frozen_string_literal: true

module RedisIPC
  module Events
    # Has the core write changes into the stream, under the keys and types that a class names in Ruby.
    # @api private
    class ForwardDelivery
      # @return [Settlement]
      attr_reader :settlement

      # @param setup [Setup]
      # @param settlement [Settlement]
      def initialize(setup, settlement)
        @setup = setup
        @settlement = settlement
      end

      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>] in the order of the log
      # @return [void]
      def call(engine, natives)
        left = natives.dup
        named, failure = named(natives)
        write(engine, left.shift(named.size), named)
        put_off(engine, left.shift, failure) if failure
        give_back(engine, left)
      rescue SystemExit, SignalException => e
        ended_by = e
        raise
      ensure
        left&.each { |native| @settlement.stopped(engine, [native], event_of(native), ended_by) }
      end

      private

      # Names them up to the first that fails: it holds those after it.
      # @return [Array(Array, Exception)]
      def named(natives)
        forwarding = @setup.forwarding
        named = []
        RedisIPC.framework.around_callback do
          natives.each { |native| named << forwarding.names(event_of(native)) }
        end
        [named, nil]
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- any exception is a failure of the event
        [named, e]
      end

      def write(engine, natives, named)
        return if natives.empty?

        keys = named.map(&:first) if @setup.forwarding.keys?
        types = named.map(&:last) if @setup.forwarding.types?
        @settlement.forward(engine, natives, keys, types)
      end

      def put_off(engine, native, error)
        event = event_of(native)
        @settlement.carry_out(engine, native, event, @settlement.judge(error, event))
      end

      def give_back(engine, natives)
        @settlement.guarded { FiberWaker.outside { engine.give_back(natives) } } unless natives.empty?
        natives.clear
      end

      def event_of(native)
        ChangeEvent.new(native, @setup.format)
      end
    end
    private_constant :ForwardDelivery
  end
end
