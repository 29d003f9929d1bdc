# frozen_string_literal: true

require_relative "effects"

module Chaos
  module Events
    # A row of events while it runs: publishers and consumers.
    class Scene < Chaos::Scene
      STREAM = "house"
      GROUP = "billing"
      # What the processes of an ordered consumer share.
      HASH = "#{STREAM}:events:#{GROUP}".freeze
      DEAD = "#{STREAM}:dead:#{GROUP}".freeze
      PUBLISHERS = 2
      # The events wait no longer than this for a handler when the load has ended.
      PATIENCE = 20
      # What has not changed for this long stays as it is.
      STILL = 4

      def start
        missing = Effects.missing if fault.load.database
        impossible(missing) if missing
        @place = fault.place.call
        fault.consumers.times { |number| add(:consumer, redis_options: place.options_of(number)) }
        workers.each(&:wait_until_ready)
        PUBLISHERS.times { |number| add(:publisher, **(number.zero? ? {} : { poison: nil })) }
        publishers.each(&:wait_until_ready)
      end

      def consumers
        workers.select { |worker| worker.role == :consumer && !killed.include?(worker) && !left.include?(worker) }
      end

      def publishers
        workers.select { |worker| worker.role == :publisher }
      end

      # Runs the fault. Then what has failed so far succeeds.
      def happen
        super
        FileUtils.touch(healed)
      end

      # Returns what the journals say, and the database.
      def books
        Books.new(workers, fault.load.database ? Effects.read(database) : [])
      end

      # Starts new consumers in place of those that have died.
      def replace_dead
        replace(consumers.select(&:gone?))
      end

      # Lets the oldest consumer leave, and starts another one.
      def replace_oldest
        leave([consumers.first])
        add(:consumer).wait_until_ready
      end

      # Returns the processes that a consumer has forked.
      def forks_of(worker)
        Dir["/proc/#{worker.pid}/task/*/children"].flat_map { |file| File.read(file).split.map(&:to_i) }
      end

      # Runs the block while all consumers are paused.
      def while_paused
        consumers.each { |worker| worker.kill(:USR1) }
        yield
        consumers.each { |worker| worker.kill(:USR2) }
      end

      # Stops some consumers (SIGSTOP) while the block runs.
      def while_stopped(some)
        @stopped = stopped + some.size
        some.each { |worker| worker.kill(:STOP) }
        yield
        some.each { |worker| worker.kill(:CONT) }
      end

      # Returns how many times consumers were stopped.
      def stopped
        @stopped.to_i
      end

      # Trims most of what consumers have not read, while they are paused.
      def trim_behind
        while_paused do
          stand 1
          trim(100)
          stand 0.3
        end
      end

      # Trims all but the last entries, and counts how many.
      def trim(left)
        @trimmed = trimmed + redis("XTRIM", STREAM, "MAXLEN", left)
      end

      # Returns how many entries were trimmed.
      def trimmed
        @trimmed.to_i
      end

      # Moves the slot of a key to another node of the cluster, with the keys in it.
      def move(key)
        cluster = place.cluster
        cluster.move(key, any(cluster.masters - [cluster.master_of(key)]))
      end

      # Kills the node that has a key, and waits for the one that takes its place.
      def lose_master_of(key)
        lost = place.cluster.master_of(key)
        lost.kill
        place.await_master_after(lost, key)
      end

      def add(role, **own)
        journal = File.join(@folder, "#{role}-#{workers.size}")
        settings = [usual(role), fault.load.settings[role], fault.settings[role], own].compact.reduce do |all, some|
          all.merge(some) { |_, before, now| before.is_a?(Hash) ? before.merge(now) : now }
        end
        workers << Worker.new(role, journal, settings, program: program(role))
        workers.last
      end

      # Ends the load, waits until all was handled, and ends the consumers.
      def finish
        orderly = finish_all(publishers, 10)
        await_handlers
        dead = self.dead
        @ending = Ending.new(finish_all(consumers, 10) && orderly, dead, nil)
      end

      # Returns the positions of the events that were given up on.
      def dead
        client = place.respond_to?(:cluster) ? place.cluster.master_of(DEAD).client : place.admin
        client.xrange(DEAD).map { |_, fields| fields["dead_id"] }
      end

      private

      def program(role)
        "event_#{role}"
      end

      def await_handlers
        deadline = Chaos.now + PATIENCE
        seen = []
        loop do
          left = books.undone.size
          seen = [left, Chaos.now] if left != seen.first
          break if left.zero? || Chaos.now > deadline || Chaos.now - seen.last > STILL

          sleep 0.2
        end
      end

      def usual(role)
        common = { redis_options: place.redis_options }
        return { **common, keys: 25, batch: 5, pause: 0.01 } if role == :publisher

        { **common, work: 0.001, slow: [], failing: [], healed: (healed if fault.load.held),
                    database: (database if fault.load.database), options: { order: [fault.order], lease: fault.lease } }
      end

      # The file that tells consumers that handlers fail no more.
      def healed
        File.join(@folder, "healed")
      end

      def database
        File.join(@folder, "effects.sqlite3")
      end

      def warm_up
        Chaos.eventually(timeout: 20) { books.events.each_value.count { |event| event.done.any? } > 200 }
      end
    end
  end
end
