# frozen_string_literal: true

module Chaos
  module Events
    # The events themselves are dangerous, or slow. Redis is well all the time.
    module Table
      # An event that kills each process that handles it is given up on, and those beside it are not.
      poison = { dead: 1, pause: 4, settle: 3, consumers: 3 }
      settings = lambda do |**more|
        { publisher: { poison: 60 }, consumer: { options: { lease: 0.5, attempts: 2, **more } } }
      end

      fault "an event kills who handles it", **poison, lease: 0.5, settings: settings.call do
        Chaos.eventually(timeout: 40) { replace_dead && dead.any? }
      end

      fault "an event kills the worker process that handles it", **poison,
            settings: settings.call(concurrency: { processes: 2, threads: 2 }) do
        Chaos.eventually(timeout: 40) { dead.any? }
      end

      # Leases are renewed while handlers run, so nobody takes over. The other keys go on.
      slow = { slow: ["0/20", "0/21"], slow_work: 2.5, options: { concurrency: { threads: 6 } } }
      fault "handlers that take 2.5 leases", settings: { consumer: slow }, once: true, pause: 5 do
        stand 6
      end
    end
  end
end
