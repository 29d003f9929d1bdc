# frozen_string_literal: true

module RedisIPC
  # A committed transaction of PostgreSQL tells its changes together, in their order. It is frozen.
  #
  # One that has more changes than a consumer holds (`prefetch:`, `prefetch_bytes:`) comes in parts. Only after the last
  # one is the next transaction handled.
  #
  # @example
  #   transaction.id                        #=> 7341
  #   transaction.map(&:type)               #=> ["orders.insert", "order_lines.insert", "order_lines.insert"]
  #   transaction.whole?                    #=> true
  class CommittedTransaction
    include Enumerable

    # @return [Array<ChangeEvent>]
    attr_reader :events

    # @param events [Array<ChangeEvent>] at least one
    # @api private
    def initialize(events)
      @events = events.freeze
      @first = events.first.transaction
      @last = events.size == 1 ? @first : events.last.transaction
      freeze
    end

    # @return [Integer, nil] its id (xid); nil of rows of a snapshot, and of a message outside of transactions
    def id
      @first&.id
    end

    # @return [String] the position of its commit in the log (LSN); of rows of a snapshot that at which the log begins
    def position
      @events.first.position
    end

    # @return [Time, nil] nil outside of transactions
    def committed_at
      @first&.committed_at
    end

    # @return [String] the database and the slot
    def source
      @events.first.source
    end

    # @return [Integer] which try this is, from 1 on
    def attempt
      @events.first.attempt
    end

    # @return [Boolean] whether it may have run before
    def redelivered?
      @events.first.redelivered?
    end

    # @return [Integer] how many changes there are here
    def size
      @events.size
    end

    # @yieldparam event [ChangeEvent]
    # @return [self, Enumerator]
    def each(&block)
      return @events.each unless block

      @events.each(&block)
      self
    end

    # @return [Boolean] whether the first of its changes is here
    def first?
      @first.nil? || @first.first?
    end

    # @return [Boolean] whether the last of its changes is here
    def last?
      @last.nil? || @last.last?
    end

    # @return [Boolean] whether all of its changes are here
    def whole?
      first? && last?
    end

    # @return [Boolean] whether these are rows that were there before the log
    def snapshot?
      @events.first.metadata.key?(:snapshot)
    end

    # @return [Hash{String => Object}] all of it, as JSON can hold it
    def to_h
      { "id" => id, "position" => position, "committed_at" => committed_at&.iso8601(6), "first" => first?,
        "last" => last?, "events" => @events.map(&:to_h) }
    end

    # Shows no data.
    # @return [String]
    def inspect
      LogText.line("#<#{self.class} #{source} #{position}, #{size} changes#{" in a part" unless whole?}, " \
                   "attempt #{attempt}>")
    end

    # @return [nil] its changes have no trace
    # @api private
    def traceparent; end
  end
end
