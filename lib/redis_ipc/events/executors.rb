# frozen_string_literal: true

require_relative "executors/intake"
require_relative "executors/core"
require_relative "executors/handling"
require_relative "executors/slow_watch"
require_relative "executors/threads"
require_relative "executors/fibers"
require_relative "executors/processes"
require_relative "executors/ractors"

module RedisIPC
  module Events
    # Executors run the handlers of a consumer. Each kind is a class. The session uses only these methods:
    #
    # - `start` starts the workers. They take events from the engine.
    # - `retire` says that the consumer stops: a worker that ends is not replaced. The intake was stopped before.
    # - `join(deadline)` waits until no handler runs any more, at most until that moment of {Monotonic}.
    # - `kill` ends what still runs, where that is possible. The engine then hands back what was not settled.
    # - `current?` says whether the calling thread is one of its workers.
    # - `alive?` says whether a worker is there.
    # @api private
    module Executors
      class << self
        # @param who [String] the class
        # @param kinds [Array<Symbol>] the kinds that its `concurrency` names
        # @raise [ConfigurationError] if they cannot be combined, or are not available here
        def check(who, kinds)
          if kinds.size > 1 && kinds.sort != %i[processes threads]
            Check.refuse("concurrency of #{who}: #{kinds.first}: and #{kinds.last}: exclude each other; only " \
                         "processes: and threads: combine")
          end

          { fibers: Fibers, processes: Processes, ractors: Ractors }[(kinds - [:threads]).first]&.check(who)
        end

        # @param setup [Setup]
        # @param intake [Intake]
        # @param delivery [Delivery, BatchDelivery]
        # @param label [String] for the names of threads
        # @yieldparam exception [Exception] what nobody else reports
        # @return [Threads, Fibers, Processes, Core]
        def build(setup, intake, delivery, label, &report)
          return Core.new if setup.forwarding && !setup.forwarding.asked?

          handling = Handling.new(setup, delivery, watch(setup, intake, label))
          size = setup.concurrency.size
          case setup.concurrency.kind
          when :processes then Processes.new(setup, label, intake, handling, delivery.settlement, &report)
          when :fibers then Fibers.new(size, label, intake, handling, setup.resource, &report)
          else Threads.new(size, label, intake, handling, owned(setup, &report))
          end
        end

        private

        # Only threads take several events at once. A batch belongs to one handler, so nothing waits behind another
        # event.
        # @return [SlowWatch, nil]
        def watch(setup, intake, label)
          return if setup.batch || %i[processes fibers].include?(setup.concurrency.kind)

          SlowWatch.new(intake, label, ordered: setup.ordered?)
        end

        # @return [Resources, Ractors, nil] what each thread owns
        def owned(setup, &report)
          return setup.invoker if setup.concurrency.kind == :ractors

          Resources.new(setup.resource, &report) if setup.resource
        end
      end
    end
    private_constant :Executors
  end
end
