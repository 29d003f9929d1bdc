# frozen_string_literal: true

require_relative "books"

module Chaos
  module Wal
    # A row of PostgreSQL's log while it runs: writers write, one consumer has the slot, and the others are standbys.
    class Scene < Events::Scene
      WRITERS = 2
      # How long the slot may take to get past what nobody reads. The server is told once a second.
      IDLE = 8
      # How often the slot is looked at, in seconds.
      LOOK = 0.1

      # How far the slot was confirmed, and by when.
      attr_reader :confirmed
      # Whether the slot got past what was written elsewhere when nothing happened any more.
      attr_reader :moved_on
      # The memory of the consumers (bytes): that of an idle one, and the most that there was.
      attr_reader :memory

      def start
        impossible(Place.missing) if Place.missing
        @place = fault.place.call
        @confirmed = []
        @looker = Thread.new { look }
        fault.consumers.times { add(:consumer).wait_until_ready }
        WRITERS.times { add(:publisher) }
        publishers.each(&:wait_until_ready)
      end

      # Returns what the journals say.
      def books
        Books.new(workers)
      end

      # Returns the consumer that has the slot.
      def active
        Chaos.eventually(timeout: 20) do
          name = place.query(<<~SQL)&.first&.fetch("name")
            SELECT application_name AS name FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid
          SQL
          consumers.find { |worker| File.basename(worker.journal) == name }
        end
      end

      # Kills the consumer that has the slot, and starts another standby.
      def kill_active
        kill(active)
        # From now on the standby may take over. Nobody else may before it has.
        back!
        active
        add(:consumer).wait_until_ready
      end

      # Lets the consumer die at the next change that its settings name, and starts another one.
      def die
        FileUtils.touch(mark)
        Chaos.eventually(timeout: 15) { consumers.any?(&:gone?) }
        back!
        @killed.concat(consumers.select(&:gone?))
        active
        add(:consumer).wait_until_ready
      end

      # Returns what the server says of the slot: `active_pid`, `wal_status` and so on; nil if there is none.
      def slot
        place.query("SELECT * FROM pg_replication_slots WHERE slot_name = '#{Place::SLOT}'")&.first
      end

      # Ends the connection that reads the slot.
      def cut_wal
        place.query("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
      end

      # Waits until the connection was cut wherever it is to be cut.
      def await_cuts
        Chaos.eventually(timeout: 30) { place.proxy.uncut.empty? }
      rescue RuntimeError
        raise "these messages did not come: #{place.proxy.uncut}"
      end

      # Drops the slot, though it is in use.
      def drop_slot
        Chaos.eventually do
          cut_wal
          place.query("SELECT pg_drop_replication_slot('#{Place::SLOT}')")
        end
      end

      # Waits until there is a slot that can be read.
      def await_slot
        Chaos.eventually { ![nil, "lost"].include?(slot&.fetch("wal_status")) }
      end

      # Writes much to the log, and to no table. It does not matter whether that fails.
      def write_much
        place.query("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))")
        true
      end

      # Writes so much that the slot is invalidated. Returns whether it is.
      def invalidate
        place.query("INSERT INTO elsewhere SELECT n, repeat('x', 100) FROM generate_series(1, 100000) n; CHECKPOINT")
        slot&.fetch("wal_status") == "lost"
      end

      # Inserts rows in one transaction, and looks at the memory of the consumers while these are handled.
      def write_large(count)
        before = consumers.filter_map(&:memory).max
        server.query("INSERT INTO entries SELECT 'large', n, repeat('x', 150) FROM generate_series(1, #{count}) n")
        most = before
        Chaos.eventually(timeout: 300, every: 0.1) do
          most = [most, *consumers.filter_map(&:memory)].max
          books.large >= count - 1_000
        end
        @memory = [before, most]
      end

      # Ends the load, waits until all was handled, and looks whether the slot moves on. Then it ends the consumers.
      def finish
        orderly = finish_all(publishers, 10)
        await_handlers
        @moved_on = moves_on?
        @looker.kill.join
        @ending = Ending.new(finish_all(consumers, 10) && orderly, [], nil)
      end

      def stop
        @looker&.kill&.join
        super
      end

      private

      def look
        loop do
          row = place.query("SELECT confirmed_flush_lsn - '0/0' AS lsn FROM pg_replication_slots")&.first
          @confirmed << [Chaos.now, row["lsn"].to_i] if row && @confirmed.last&.last != row["lsn"].to_i
          sleep LOOK
        end
      end

      def moves_on?
        place.query("INSERT INTO elsewhere SELECT n, repeat('x', 100) FROM generate_series(1, 10000) n")
        wanted = place.query("SELECT pg_current_wal_lsn() - '0/0' AS lsn").first["lsn"].to_i
        Chaos.eventually(timeout: IDLE, every: 0.1) { @confirmed.last.last >= wanted }
      rescue RuntimeError
        false
      end

      def program(role)
        role == :publisher ? "wal_writer" : "wal_consumer"
      end

      def usual(role)
        return { writing: place.writing, keys: 25, batch: 5, pause: 0.02 } if role == :publisher

        { url: "#{place.url}&application_name=consumer-#{workers.size}", slot: Place::SLOT,
          work: 0.001, slow: [], failing: [], dies: dies, options: { order: [fault.order] } }
      end

      # The file that has a consumer die. The one that does removes it.
      def mark
        File.join(@folder, "mark")
      end

      # A consumer that is to die of itself is told where.
      def dies
        fault.settings[:dies]&.merge(mark: mark)
      end
    end
  end
end
