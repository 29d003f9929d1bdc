# frozen_string_literal: true

module RedisIPC
  # A loss tells that events may be missing, and at most how many. It is frozen.
  #
  # @example
  #   on_loss { |loss| Reconcile.perform_later(loss.since, loss.until) }
  class Loss
    # @return [String] the name of the stream, the channels, or the database and the slot of PostgreSQL
    attr_reader :source
    # @return [String] the server's address, without credentials
    attr_reader :node
    # @return [Symbol] of a stream `:trimmed`: it was trimmed before its entries were read; `:rolled_back`: the server
    #   came back with an older state, after a failover or a restart; `:flushed`: the stream was deleted, and perhaps
    #   created again. Of a subscription `:disconnected`: its connection broke; `:restarted`: the server was restarted;
    #   `:failover`: another server has taken over; `:slot_moved`: another node of the cluster serves the slot;
    #   `:slow_consumer`: events were dropped because handlers were too slow; `:too_large`: an event was larger than
    #   `max_event_size`; `:flushed`: all keys that a cache may hold are gone. Of PostgreSQL `:slot_lost`: the slot was
    #   lost
    attr_reader :cause
    # @return [Time, nil] the missing events came after this; nil if that is not known
    attr_reader :since
    # @return [Time] the missing events came before this
    attr_reader :until
    # @return [Integer, nil] the most events that may be missing; nil if no bound is known
    attr_reader :at_most

    # @param told [Hash{Symbol => Object}] the loss from the core: times are in ms
    # @api private
    def initialize(told)
      @source, @node, @cause, @at_most, @exact = told.values_at(:source, :node, :cause, :at_most, :exact)
      @since = time(told[:since_ms]) if told[:since_ms]
      @until = time(told[:until_ms])
      [@source, @node].each(&:freeze)
      freeze
    end

    # @return [Boolean] whether exactly {#at_most} events are missing
    def exact?
      @exact
    end

    # @return [Hash{String => Object}] the loss in a form that JSON can hold: times as ISO 8601
    def to_h
      { "source" => source, "node" => node, "cause" => cause.name, "since" => since&.iso8601(3),
        "until" => @until.iso8601(3), "at_most" => at_most, "exact" => exact? }
    end

    # @return [String] one line for people
    def to_s
      count = at_most.nil? ? "an unknown number of" : "#{"at most " unless exact?}#{at_most}"
      after = " after #{since.iso8601(3)}" if since
      LogText.line("#{count} events of #{source} are missing#{after}, before #{@until.iso8601(3)}: #{cause}")
    end

    # @return [String]
    def inspect
      "#<#{self.class} #{self}>"
    end

    private

    def time(milliseconds)
      Time.at(0, milliseconds, :millisecond).utc.freeze
    end
  end
end
