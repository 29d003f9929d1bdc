# frozen_string_literal: true

require_relative "exactly_once/record"
require_relative "exactly_once/ledger"
require_relative "exactly_once/tables"
require_relative "exactly_once/pruner"

module RedisIPC
  module Events
    # Runs handlers in database transactions that also write a row for each event that is done: the declaration
    # `exactly_once` of a consumer. The row exists if and only if the effects of the handler do. If Redis delivers the
    # event again, the row shows that it is done, and it is not handled again.
    #
    # With an order, another row holds the epoch of each lane's owner. Right before it commits, a transaction reads that
    # row and locks it in shared mode. So a process that has lost its lane is refused, and a new owner waits for the
    # last commits of the old one before it begins. Events of one lane do not wait for each other, because each has a
    # row of its own, and shared locks do not exclude each other.
    # @api private
    class ExactlyOnce
      OPTIONS = %i[keep server].freeze
      # The least number of seconds for which rows are kept.
      KEEP = 86_400
      # How many rows one statement deletes.
      PAGE = 1_000
      # SQLite has one writer at a time. With sqlite3 before 2.0, a thread that waits for another writer may keep Ruby's
      # lock, so that neither goes on. The threads of a process wait on this mutex instead.
      WRITER = Mutex.new
      private_constant :OPTIONS, :KEEP, :PAGE, :WRITER

      # @param who [String] the class
      # @param said [Array(Class, Hash), nil] what it declares
      # @param consumer [Array(String, String)] the stream and the group
      # @return [ExactlyOnce, nil]
      # @raise [ConfigurationError]
      def self.of(who, said, consumer)
        record, options = said
        return if record.nil? || record == false

        unless defined?(ActiveRecord::Base) && record.is_a?(Class) && record <= ActiveRecord::Base
          Check.refuse("exactly_once of #{who} needs a class of Active Record with a connection, such as " \
                       "ActiveRecord::Base, got #{record.inspect}")
        end
        Check.known(who, "exactly_once", options, OPTIONS)
        new(who, record, consumer, **options)
      end

      # (see Tables.create)
      def self.create_tables(record)
        Tables.create(record)
      end

      # @param who [String]
      # @param record [Class] the class of ActiveRecord whose connection runs the transactions
      # @param consumer [Array(String, String)]
      # @param keep [Numeric] the least number of seconds for which rows are kept
      # @param server [String, Symbol, nil] the name of the Redis server in the tables
      # @raise [ConfigurationError]
      def initialize(who, record, consumer, keep: KEEP, server: nil)
        unless Check.seconds?(keep)
          Check.refuse("keep: of exactly_once in #{who} must be a number of seconds, got #{keep.inspect}")
        end

        names = [*(Check.named("server: of exactly_once", server) if server), *consumer]
        name = names.map { |part| Record.part(part) }.join("/")
        @who = who
        @record = record
        @keep = keep
        @ledger = Ledger.new(record, name)
        @claimed = {}
      end

      # @return [Array] the values by which two of these are compared
      def words
        [@record.name, @keep, @ledger.consumer]
      end

      # Checks once that the tables exist.
      # @raise [ConfigurationError] if they do not, or if the database is unsuitable
      # @raise [DatabaseUnreachableError]
      # @return [void]
      def check
        @checked ||= with_connection { |connection| @ledger.on(connection).check(@who) }
      rescue ConfigurationError
        raise
      rescue StandardError => e
        # ActiveRecord does not translate every exception of a driver.
        raise DatabaseUnreachableError.new("#{@who} cannot reach the database of #{@record}: #{LogText.error(e)}",
                                           outcome: :not_sent)
      end

      # Runs the handler of an event, unless the event was done before.
      # @param native [Native::StreamEvent]
      # @param event [ChangeEvent]
      # @yield the handler
      # @return [Symbol, nil] `:skipped` if it was done before
      # @raise [StaleOwnerError] if another process owns its lane
      # @raise [Exception] what the handler or the database raised; then nothing was written
      def event(native, event)
        records = [Record.of(native, event)]
        outcome = nil
        transaction(records) do |ledger|
          next outcome = :skipped if ledger.add(records).zero?

          yield
          raise ActiveRecord::Rollback if event.failure

          outcome = :done
        end
        # If the handler itself raised ActiveRecord::Rollback, the event still counts as done.
        add(records) unless outcome || event.failure
        outcome
      end

      # Runs the handler of a batch for those events that were not done before.
      # @param events [Array<ChangeEvent>]
      # @param skipped [Array<Native::StreamEvent>] receives the events that were done before
      # @yieldparam events [Array<ChangeEvent>] the others, for the handler
      # @return [void]
      # @raise (see #event)
      def batch(events, skipped, &handler)
        records = events.map { |event| Record.of(event.native, event) }
        rest = records.uniq(&:event_id)
        copies = records - rest
        rest = without_known(rest, skipped) until rest.empty? || handle_all(rest, &handler)
        skipped.concat(copies.map(&:native))
      end

      # Records that events are done although their handler left no effects: they were discarded. Without the record
      # they could still have an effect when they are delivered again, even after later events of their keys.
      # @param events [Array<ChangeEvent>]
      # @return [void]
      # @raise (see #event)
      def conclude(events)
        add(events.map { |event| Record.of(event.native, event) })
      end

      # Deletes rows that are older than `keep` and belong to events that are no longer delivered.
      # @param floor [Integer] the lowest number ({Record}) of an event that may still be delivered
      # @yieldreturn [Boolean] whether to go on
      # @return [Integer] how many were deleted
      def prune(floor)
        pruned = 0
        loop do
          count = with_connection { |connection| @ledger.on(connection).prune(Time.now - @keep, floor, PAGE) }
          pruned += count
          return pruned if count < PAGE || !yield
        end
      end

      # Deletes all rows of the consumer.
      # @return [void]
      def forget
        with_connection { |connection| @ledger.on(connection).forget }
      end

      private

      def with_connection(&block)
        @record.connection_pool.with_connection(&block)
      end

      # Runs the block in an outermost transaction. It is refused if a lane has another owner by now.
      # @yieldreturn [Symbol] `:skipped` if it has written nothing
      def transaction(records)
        with_connection do |connection|
          be_outermost(connection)
          ledger = @ledger.on(connection)
          lanes = records.filter_map(&:spot).uniq
          in_turn(ledger) do
            claim(ledger, lanes)
            connection.transaction { verify(ledger, lanes) unless whole { yield ledger } == :skipped }
          end
        end
      end

      def in_turn(ledger, &block)
        ledger.one_writer? && !WRITER.owned? ? WRITER.synchronize(&block) : yield
      end

      # Raises if the connection is in a transaction that can be joined. The transaction in which tests wrap each
      # example cannot be joined, and is allowed.
      def be_outermost(connection)
        open = connection.current_transaction
        return unless open.open? && open.joinable?

        raise Error, "the connection of #{@record} is in a transaction already: #{@who} says exactly_once, so its " \
                     "handlers run in a transaction of their own. Do not call them, or around_event, in another one"
      end

      # Raises if the block is left by `throw`, by which Timeout may end a handler: ActiveRecord would commit half of
      # its work.
      def whole
        result = yield
        ended = true
        result
      rescue Exception # rubocop:disable Lint/RescueException -- it is raised on
        ended = true
        raise
      ensure
        unless ended || Thread.current.status == "aborting"
          raise Error, "the handler was left by `throw` (as by a Timeout around it): what it has written is rolled back"
        end
      end

      # Writes to the database that this process owns these lanes, so that their previous owners are refused. Waits for
      # what those are just committing.
      def claim(ledger, lanes)
        lanes.each do |lane, epoch|
          next if @claimed[lane].to_i >= epoch

          ledger.claim(lane, epoch)
          verify(ledger, [[lane, epoch]])
          @claimed[lane] = epoch
        end
      end

      def verify(ledger, lanes)
        lanes.sort.each do |lane, epoch|
          found = ledger.epoch(lane)
          next if found == epoch

          @claimed.delete(lane)
          stale(lane, epoch, found)
        end
      end

      def stale(lane, epoch, found)
        raise Error, "the row of lane #{lane} is gone from #{@ledger.lanes}" if found.nil?

        raise StaleOwnerError.new("lane #{lane} belongs to another process (its epoch is #{found}, here it is " \
                                  "#{epoch}): what the handler has written is rolled back", lane: lane)
      end

      # @return [Boolean] whether all of them were new; otherwise nothing was handled
      def handle_all(records)
        known = settled = false
        transaction(records) do |ledger|
          known = ledger.add(records) < records.size
          raise ActiveRecord::Rollback if known

          yield records.map(&:event)
          failed = records.select(&:failed?)
          raise ActiveRecord::Rollback if failed.size == records.size

          ledger.remove(failed)
          settled = true
        end
        add(records.reject(&:failed?)) unless known || settled
        !known
      end

      def without_known(records, skipped)
        ids = with_connection { |connection| @ledger.on(connection).known(records) }
        known, rest = records.partition { |record| ids.include?(record.event_id) }
        skipped.concat(known.map(&:native))
        rest
      end

      def add(records)
        transaction(records) { |ledger| ledger.add(records) } unless records.empty?
      end
    end
    private_constant :ExactlyOnce
  end
end
