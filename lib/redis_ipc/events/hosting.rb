# frozen_string_literal: true

module RedisIPC
  module Events
    # What processes need that run all consumers of an application: a framework, or the command `redis_ipc work`.
    # @api private
    module Hosting
      class << self
        # @param consumer [Class]
        # @return [Boolean] whether it declares a source. A class without one is only there to be inherited from
        def source?(consumer)
          !ConsumerState.of(consumer).sources.empty?
        end

        # Leaves out classes that are only there to be inherited from. A class is one of them if a subclass has the same
        # source.
        # @param consumers [Array<Class>]
        # @return [Array<Class>]
        def runnable(consumers)
          found = consumers.select { |one| source?(one) }
          found.reject { |one| found.any? { |other| other < one && place(other) == place(one) } }
        end

        # @param consumer [Class]
        # @return [Hash] the {Consumer.options} of the class and of its superclasses
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

        # Checks each class, and that no two have the same group: each of them would handle only a part of its events.
        # @param consumers [Array<Class>]
        # @yieldparam consumer [Class]
        # @yieldreturn [Hash] the options of {Consumer.start}
        # @return [void]
        # @raise [ConfigurationError] names the classes
        def check_all(consumers)
          # A message of a channel goes to every class, so live sources cannot collide.
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
        # @return [Boolean] whether this call has started it
        # @raise (see Consumer.start)
        def start(consumer, options = {}, paused: false)
          return false if consumer.running?

          ConsumerState.of(consumer).start(options, paused: paused)
          true
        end

        # @param new [Class] the reloaded class
        # @param old [Class] the class that it replaces
        # @param options [Hash] those of {Consumer.start}
        # @return [Object] nil or false if the old one must be stopped and the new one started
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
          into = ", into the stream #{setup.forwarding.stream}" if setup.forwarding
          "#{setup.title} (#{setup.redis}, #{setup.concurrency.handlers} at a time#{into})"
        end

        # @param consumer [Class]
        # @return [Boolean] whether it runs in this process, and all its connections are up
        def connected?(consumer)
          runner = ConsumerState.of(consumer).runner
          runner ? runner.connected? : false
        end

        # @param consumer [Class] one with a source
        # @return [String] the stream and the group, the channels, or the slot
        def place(consumer)
          kind, (names, options) = ConsumerState.of(consumer).sources.first
          case kind
          when :stream then "#{names}/#{options[:group]}"
          when :wal then WalWords.label(options)
          else names.join(", ")
          end
        end

        # @param classes [Array<Class>]
        # @return [Array<Setup>] those of the consumers among them that read a log of PostgreSQL
        # @raise [ConfigurationError] names the class
        def of_logs(classes)
          classes.select { |one| one < Consumer }.map { |consumer| check(consumer) }
                 .select { |setup| setup.source.is_a?(WalSource) }
        end

        # @param setup [Setup] that of a consumer of a log
        # @return [Array<WalDoctor::Finding>] what it has and lacks in PostgreSQL
        def findings(setup)
          WalDoctor.new(setup).findings
        end

        # @param given [String, Hash, Symbol] how to reach a database, as `wal` takes it
        # @return [Array<WalSlots::Slot>] the replication slots of its server
        # @raise (see #slots)
        def slots_at(given)
          WalSlots.at(given)
        end

        # @param setups [Array<Setup>] those of consumers of logs
        # @return [Array<WalSlots::Slot>] the replication slots of their servers
        # @raise [ConnectionError]
        # @raise [CommandError]
        def slots(setups)
          WalSlots.of(setups)
        end

        private

        def check_tables(setup)
          setup.exactly_once&.check
        rescue DatabaseUnreachableError
          # `start` waits for that thread.
        end
      end
    end
  end
end
