# frozen_string_literal: true

require "logger"
require "pg"
require "redis_ipc"
require_relative "decoding"
require_relative "opinions"
require_relative "replay"
require_relative "workload"

module Oracle
  # Random transactions of PostgreSQL, and what the events of them say.
  module Wal
    # Runs random transactions under a consumer, and checks what it gets, in two ways:
    # * A copy that is made of the events alone is the same as the tables.
    # * Another decoder with a slot of its own says the same, change by change.
    class Trial
      SLOT = "ipc"
      # How long the events may take.
      PATIENCE = 30

      attr_reader :figures

      # @param seed [Integer]
      # @param database [Hash] the options of a connection to an empty database (host, port, user, dbname)
      def initialize(seed, database)
        @random = Random.new(seed)
        @database = database
        @events = Queue.new
        @seen = {}
        @figures = Hash.new(0)
      end

      # @yield [Integer] runs while the block returns true; it is told how many rounds there were
      # @return [Array<String>] what is wrong
      def run
        begin_all
        failures = []
        rounds = 0
        while failures.empty? && yield(rounds)
          @random.rand(1..12).times { @workload.round }
          disturb
          failures = check
          rounds += 1
        end
        failures
      ensure
        end_all
      end

      private

      def begin_all
        @connection = connect
        @via_root = @random.rand(2).zero?
        @workload = Workload.new(@random) { connect }
        @workload.begin
        @connection.exec("CREATE PUBLICATION #{SLOT} FOR ALL TABLES WITH (publish_via_partition_root = #{@via_root})")
        @connection.exec("SELECT pg_create_logical_replication_slot('#{SLOT}', 'pgoutput')")
        @decoding = Decoding.new(@connection)
        @opinions = Opinions.new(@connection, via_root: @via_root)
        @replay = Replay.new
        consume
      end

      def end_all
        @consumer&.stop
        @workload&.end
        @connection&.exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots " \
                          "WHERE database = current_database()")
        @connection&.close
        @workload&.figures&.each { |what, count| @figures[what] += count }
      end

      # Times of the log are compared in one zone.
      def connect
        PG.connect(**@database).tap { |connection| connection.exec("SET timezone = 'UTC'") }
      end

      def consume
        address = @database.slice(:host, :port, :user, :dbname)
        @consumer = RedisIPC::Events.consume(wal: address, slot: SLOT, logger: Logger.new(IO::NULL),
                                             on_error: @events.method(:<<), on_loss: @events.method(:<<),
                                             &@events.method(:<<))
      end

      # The connection is cut, or the consumer leaves and comes again.
      def disturb
        case @random.rand(8)
        when 0
          @figures[:cut] += 1
          @connection.exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots " \
                           "WHERE slot_name = '#{SLOT}'")
        when 1
          @figures[:restarted] += 1
          @consumer.stop
          consume
        end
      end

      def check
        events = await
        @figures[:events] += events.size
        others = events.grep_v(RedisIPC::ChangeEvent).reject { |other| other.is_a?(RedisIPC::ConnectionError) }
        return others.map { |other| "was told: #{other.inspect}" } if others.any?

        events = first_ones(events.grep(RedisIPC::ChangeEvent))
        differences = @opinions.differences(events, @decoding.changes)
        events.each { |event| @replay.apply(event) }
        differences + @replay.differences(@connection, tables)
      rescue Replay::Wrong => e
        [*differences, e.message]
      end

      # A consumer that comes again gets the transaction that was under way once more, from its beginning. Two
      # deliveries of one change have the same position and index.
      def first_ones(events)
        events.select do |event|
          place = [event.position, event.transaction&.index]
          is_new = !@seen.key?(place)
          @figures[:repeated] += 1 unless is_new
          @seen[place] = true
          is_new
        end
      end

      # Returns all events up to now.
      def await
        mark = SecureRandom.hex(8)
        @connection.exec("SELECT pg_logical_emit_message(false, 'mark', '#{mark}')")
        Timeout.timeout(PATIENCE) do
          events = []
          events << @events.pop until events.last.is_a?(RedisIPC::ChangeEvent) && events.last.data == mark
          events
        end
      end

      def tables
        which = @via_root ? "relkind IN ('r', 'p') AND NOT relispartition" : "relkind = 'r'"
        @connection.exec("SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace " \
                         "WHERE #{which} AND nspname IN ('public', 'Odd \"schema\"')").values
      end
    end
  end
end
