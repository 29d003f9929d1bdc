# frozen_string_literal: true

# Notifications of what happens in the gem: {RedisIPC.subscribe}.
module RedisIPC
  # A notification tells a subscriber one thing that happened (see {RedisIPC.subscribe}). It is frozen.
  class Notification
    # @return [Symbol] `:request`, `:handle`, `:event`, `:timeout`, `:retry`, `:overrun`, `:dead_letter`, `:reconnect`,
    #   `:loss`, `:trim` or `:error`
    attr_reader :name
    # @return [Hash{Symbol => Object}] the details; docs/instrumentation.md lists the keys of each name
    attr_reader :payload

    # @api private
    def initialize(name, payload)
      @name = name
      @payload = payload.dup.freeze
      freeze
    end

    # @return [Float, nil] seconds
    def duration
      payload[:duration]
    end

    # @return [String]
    def inspect
      known = payload.slice(:stream, :group, :queue, :method, :to, :id, :duration)
      LogText.line("#<#{self.class} #{name} #{known}>")
    end
  end

  # Tells subscribers what happens, and ActiveSupport::Notifications where that is loaded. It costs next to nothing
  # without a subscriber.
  # @api private
  module Instrumentation
    NAMES = %i[request handle event timeout retry overrun dead_letter reconnect loss trim error].freeze
    # ActiveSupport knows the events by these names.
    FULL_NAMES = NAMES.to_h { |name| [name, "#{name}.redis_ipc"] }.freeze

    # The Hash is replaced and never changed, so it is read without a lock.
    @subscribers = {}.freeze
    @mutex = Mutex.new

    class << self
      # @return [Hash{Symbol => Array<#call>}] frozen, by event
      attr_reader :subscribers

      # @param names [Array<Symbol>]
      # @param subscriber [#call]
      def add(names, subscriber)
        unknown = names - NAMES
        raise ArgumentError, "unknown notification #{unknown.first.inspect}; known: #{NAMES.join(", ")}" if unknown.any?

        change { |all| names.each { |name| all[name] = (all[name] || []) + [subscriber] } }
      end

      def remove(subscriber)
        change do |all|
          all.transform_values! { |subscribers| subscribers.reject { |one| one.equal?(subscriber) } }
          all.delete_if { |_, subscribers| subscribers.empty? }
        end
      end

      # @param all [Hash{Symbol => Array<#call>}] what {subscribers} was before
      def subscribers=(all)
        @mutex.synchronize { @subscribers = all }
      end

      def listening?(name)
        @subscribers.key?(name) || (defined?(ActiveSupport::Notifications) && active_support_listens?(name))
      end

      # Runs the block, and tells subscribers how long it took. The block may complete the payload.
      def instrument(name, payload, &work)
        return yield(payload) unless listening?(name)

        by_active_support(name, payload) { measure(name, payload, &work) }
      end

      # Tells subscribers of something that is over.
      def publish(name, payload)
        by_active_support(name, payload) { tell(name, payload) } if listening?(name)
      end

      # Tells subscribers of an error that no caller is told of.
      # @param entry [Entry, nil] the request whose handler raised it
      # @param place [Hash] the stream and the group
      # @yieldreturn [Native::Engine]
      def failure(error, entry, place)
        payload = { **place, id: entry ? entry.id : (error.entry_id if error.is_a?(Error)), error: error }
        if error.is_a?(DeadLetteredError) && listening?(:dead_letter)
          # The id is Redis's, which begins with the time of the entry in ms.
          age = (yield.now_ms - payload[:id].to_i) / 1000.0
          publish(:dead_letter, payload.merge(duration: age))
        end
        publish(:error, entry ? payload.merge(entry: entry) : payload)
      end

      private

      def change
        @mutex.synchronize do
          all = @subscribers.dup
          yield all
          @subscribers = all.freeze
        end
      end

      def measure(name, payload)
        started = Monotonic.now
        yield payload
      rescue Exception => e # rubocop:disable Lint/RescueException -- only noted
        payload[:error] = e
        raise
      ensure
        payload[:duration] = Monotonic.now - started
        tell(name, payload)
      end

      def tell(name, payload)
        subscribers = @subscribers[name]
        return if subscribers.nil?

        notification = Notification.new(name, payload)
        subscribers.each { |subscriber| guard(name) { subscriber.call(notification) } }
      end

      # A subscriber that raises must not break the call.
      # @return [Boolean] whether the block came to its end
      def guard(name)
        yield
        true
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- see above
        ErrorReport.warning("redis_ipc: a subscriber of #{name} raised #{LogText.error(e)}")
        false
      end

      def active_support_listens?(name)
        ActiveSupport::Notifications.notifier.listening?(FULL_NAMES[name])
      end

      def by_active_support(name, payload)
        return yield unless defined?(ActiveSupport::Notifications)

        instrumenter = ActiveSupport::Notifications.instrumenter
        started = guard(name) { instrumenter.start(FULL_NAMES[name], payload) }
        begin
          yield
        rescue Exception => e # rubocop:disable Lint/RescueException -- only noted
          payload.merge!(exception: [e.class.name, ErrorText.message_of(e)], exception_object: e)
          raise
        ensure
          guard(name) { instrumenter.finish(FULL_NAMES[name], payload) } if started
        end
      end
    end
  end
  private_constant :Instrumentation

  class << self
    # Calls the block with a {Notification} of each `:request`, `:handle`, `:event`, `:timeout`, `:retry`, `:overrun`,
    # `:dead_letter`, `:reconnect`, `:loss`, `:trim` and `:error`, in the thread where it happens.
    # docs/instrumentation.md lists what each carries.
    # @param names [Array<Symbol>] none means all
    # @yieldparam notification [Notification]
    # @return [Object] the argument for {unsubscribe}
    # @raise [ArgumentError] without a block, or for an unknown name
    # @example
    #   RedisIPC.subscribe(:timeout) { |event| StatsD.increment("ipc.timeout", tags: [event.payload[:to]]) }
    def subscribe(*names, &block)
      raise ArgumentError, "subscribe needs a block" unless block

      Instrumentation.add(names.empty? ? Instrumentation::NAMES : names, block)
      block
    end

    # Ends a subscription.
    # @param subscription [Object] what {subscribe} returned
    # @return [nil]
    def unsubscribe(subscription)
      Instrumentation.remove(subscription)
      nil
    end
  end
end
