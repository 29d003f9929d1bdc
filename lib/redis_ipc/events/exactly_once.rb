# frozen_string_literal: true

require_relative "exactly_once/record"
require_relative "exactly_once/ledger"
require_relative "exactly_once/tables"
require_relative "exactly_once/pruner"

module RedisIPC
  module Events
    # Runs handlers in transactions of a database in which a row says that the event is done: the word `exactly_once` of
    # a consumer. The row is there if and only if what the handler has written is. So an event that Redis delivers again
    # is known by its row, and is not handled again.
    #
    # With an order, another row has the epoch of each lane's owner. A transaction looks at it, and locks it in shared
    # mode, right before it commits: a process that has lost its lane is refused, and a new owner waits for the last
    # commits of the old one before it begins. The events of one lane do not wait for each other, because each has a row
    # of its own, and shared locks do not exclude each other.
    # @api private
    class ExactlyOnce
      OPTIONS = %i[keep server].freeze
      # For how many seconds rows stay at least.
      KEEP = 86_400
      # How many rows are deleted at once.
      PAGE = 1_000
      # SQLite has one writer at a time. A thread that waits for another one of its process may keep Ruby's lock
      # meanwhile (sqlite3 before 2.0), so that neither goes on: such threads wait here instead.
      WRITER = Mutex.new
      private_constant :OPTIONS, :KEEP, :PAGE, :WRITER

      # @param who [String] the class
      # @param said [Array(Class, Hash), nil]
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
      # @param record [Class] the class of ActiveRecord whose connection has the transactions
      # @param consumer [Array(String, String)]
      # @param keep [Numeric] for how many seconds rows stay at least
      # @param server [String, Symbol, nil] what the tables call the Redis server
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

      # @return [Array] what makes one differ from another
      def words
        [@record.name, @keep, @ledger.consumer]
      end

      # Finds out whether the tables are there, once.
      # @raise [ConfigurationError] if they are not, or the database cannot do it
      # @raise [DatabaseUnreachableError]
      # @return [void]
      def check
        @checked ||= with_connection { |connection| @ledger.on(connection).check(@who) }
      rescue ConfigurationError
        raise
      rescue StandardError => e
        # Not every exception of a driver is turned into one of ActiveRecord.
        raise DatabaseUnreachableError.new("#{@who} cannot reach the database of #{@record}: #{LogText.error(e)}",
                                           outcome: :not_sent)
      end

      # Runs the handler of an event, unless it was done before.
      # @param native [Native::StreamEvent]
      # @param event [ChangeEvent]
      # @yield the handler
      # @return [Symbol, nil] `:skipped` if it was done before
      # @raise [StaleOwnerError] if its lane belongs to another process
      # @raise [Exception] what the handler or the database raised: nothing of it was written
      def event(native, event)
        records = [Record.of(native, event)]
        outcome = nil
        transaction(records) do |ledger|
          next outcome = :skipped if ledger.add(records).zero?

          yield
          raise ActiveRecord::Rollback if event.failure

          outcome = :done
        end
        # The handler itself has raised ActiveRecord::Rollback.
        add(records) unless outcome || event.failure
        outcome
      end

      # Runs the handler of a batch for those of its events that were not done before.
      # @param events [Array<ChangeEvent>]
      # @param skipped [Array<Native::StreamEvent>] those that were done before are added to it
      # @yieldparam events [Array<ChangeEvent>] the others, the handler's
      # @return [void]
      # @raise (see #event)
      def batch(events, skipped, &handler)
        records = events.map { |event| Record.of(event.native, event) }
        rest = records.uniq(&:event_id)
        copies = records - rest
        rest = without_known(rest, skipped) until rest.empty? || handle_all(rest, &handler)
        skipped.concat(copies.map(&:native))
      end

      # Records that an event is done whose handler has left nothing: it is discarded. Otherwise it could still have an
      # effect when it is delivered again, and that after later events of its key.
      # @param native [Native::StreamEvent]
      # @param event [ChangeEvent]
      # @return [void]
      # @raise (see #event)
      def conclude(native, event)
        add([Record.of(native, event)])
      end

      # Deletes rows that are older than `keep` and of events that are not delivered any more.
      # @param floor [Integer] ms of the lowest id that may still be delivered
      # @yieldreturn [Boolean] whether to go on
      # @return [Integer] how many
      def prune(floor)
        pruned = 0
        loop do
          count = with_connection { |connection| @ledger.on(connection).prune(Time.now - @keep, floor, PAGE) }
          pruned += count
          return pruned if count < PAGE || !yield
        end
      end

      # Deletes all that the tables have of the consumer.
      # @return [void]
      def forget
        with_connection { |connection| @ledger.on(connection).forget }
      end

      private

      def with_connection(&block)
        @record.connection_pool.with_connection(&block)
      end

      # Runs the block in a transaction, which is the outermost one, and refused if a lane has another owner by now.
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

      # Those of tests, which wrap all of a test in a transaction, cannot be joined.
      def be_outermost(connection)
        open = connection.current_transaction
        return unless open.open? && open.joinable?

        raise Error, "the connection of #{@record} is in a transaction already: #{@who} says exactly_once, so its " \
                     "handlers run in a transaction of their own. Do not call them, or around_event, in another one"
      end

      # `throw`, by which Timeout may end a handler, would have ActiveRecord commit half of it.
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

      # Tells the database of lanes that this process has got, so that their owners before are refused. It waits for
      # what they are committing just now.
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

      # @return [Boolean] whether none of them was known; else nothing was handled
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
