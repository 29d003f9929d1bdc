# frozen_string_literal: true

module RedisIPC
  module Events
    # What the processes that run a whole application's consumers need: a framework, the command `redis_ipc work`.
    # @api private
    module Hosting
      class << self
        # @param consumer [Class]
        # @return [Boolean] whether it names a source, so that it is not only there for others to inherit from
        def source?(consumer)
          !ConsumerState.of(consumer).sources.empty?
        end

        # Leaves out those that only others inherit from. A class whose subclass has the same source is one of them.
        # @param consumers [Array<Class>]
        # @return [Array<Class>]
        def runnable(consumers)
          found = consumers.select { |one| source?(one) }
          found.reject { |one| found.any? { |other| other < one && place(other) == place(one) } }
        end

        # @param consumer [Class]
        # @return [Hash] what the class says by {Consumer.options}, and those above it
        def options(consumer)
          ConsumerState.of(consumer).options
        end

        # @param consumer [Class]
        # @param options [Hash] those of {Consumer.start}
        # @return [Setup]
        # @raise [ConfigurationError] names the class
        def check(consumer, options = {})
          ConsumerState.of(consumer).setup(options).tap { |setup| check_tables(setup) }
        rescue ConfigurationError => e
          name = ConsumerState.of(consumer).name
          raise e.message.include?(name) ? e : ConfigurationError.new("#{name}: #{e.message}")
        end

        # Checks each, and that no two have the same group: each of them would handle a part of its events.
        # @param consumers [Array<Class>]
        # @yieldparam consumer [Class]
        # @yieldreturn [Hash] the options of {Consumer.start}
        # @return [void]
        # @raise [ConfigurationError] names the classes
        def check_all(consumers)
          # What is published to a channel goes to each class.
          setups = consumers.map { |consumer| check(consumer, yield(consumer)) }.reject(&:live?)
          setups.group_by { |setup| [setup.stream, setup.group, setup.redis] }.each do |(stream, group, _), same|
            next if same.size == 1

            Check.refuse("#{same.map(&:name).sort.join(" and ")} consume #{stream}/#{group}: each would handle part " \
                         "of its events. A consumer needs a group of its own, and all its handlers in one class")
          end
        end

        # Starts it, unless it is started already.
        # @param consumer [Class]
        # @param options [Hash] those of {Consumer.start}
        # @param paused [Boolean] whether it begins paused
        # @return [Boolean] whether this has started it
        # @raise (see Consumer.start)
        def start(consumer, options = {}, paused: false)
          return false if consumer.running?

          ConsumerState.of(consumer).start(options, paused: paused)
          true
        end

        # @param new [Class] the class that reloading has made
        # @param old [Class] the class that it replaces
        # @param options [Hash] those of {Consumer.start}
        # @return [Object] nil or false if the old one has to be stopped, and the new one started
        # @raise [ConfigurationError]
        def take_over(new, old, options)
          setup = check(new, options)
          return ConsumerState.of(new).follow(ConsumerState.of(old), setup) if ProcessHooks.worker?

          ConsumerState.of(old).running? && ConsumerState.of(new).take_over(ConsumerState.of(old), setup)
        end

        # @param consumer [Class]
        # @return [Hash] which Redis it uses
        def redis_options(consumer)
          options(consumer).fetch(:redis_options) { RedisIPC.configuration.redis_options }
        end

        # @param consumer [Class] one that was started
        # @return [String] its source, the server, and how many events are handled at the same time
        def description(consumer)
          setup = ConsumerState.of(consumer).started.setup
          "#{setup.title} (#{setup.redis}, #{setup.concurrency.handlers} at a time)"
        end

        # @param consumer [Class]
        # @return [Boolean] whether it runs in this process, and every connection to Redis stands
        def connected?(consumer)
          runner = ConsumerState.of(consumer).runner
          runner ? runner.connected? : false
        end

        # @param consumer [Class] one that names a source
        # @return [String] the stream and the group, the channels, or the slot
        def place(consumer)
          kind, (names, options) = ConsumerState.of(consumer).sources.first
          case kind
          when :stream then "#{names}/#{options[:group]}"
          when :wal then WalWords.label(options)
          else names.join(", ")
          end
        end

        private

        def check_tables(setup)
          setup.exactly_once&.check
        rescue DatabaseUnreachableError
          # `start` waits for it.
        end
      end
    end
  end
end
