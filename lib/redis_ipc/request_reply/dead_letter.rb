# frozen_string_literal: true

module RedisIPC
  # A dead letter is a request that was given up on, or a suspect: a request that may crash its processes. It is frozen.
  class DeadLetter
    include Undumpable

    # @return [String] Redis's id of the dead letter, `"ms-sequence"`
    attr_reader :id
    # @return [String] the group that was asked
    attr_reader :group
    # @return [String, nil] the asker's id of the request
    attr_reader :request_id
    # @return [String, nil] the id the request had in the inbox; its ms are when it was sent
    attr_reader :redis_id
    # @return [String, nil] why it was given up on
    attr_reader :reason
    # @return [Integer, nil] how often it was delivered
    attr_reader :deliveries
    # @return [Time, nil] when it was given up on, or became a suspect, on Redis's clock
    attr_reader :died_at
    # @return [Array<Hash{Symbol => Object}>] the processes that had it from its second delivery on, and the one before:
    #   `instance_id`, `host` and `pid` (nil if they are not known) and `delivery`. The latest 16 are kept
    attr_reader :holders
    # @return [String, nil] the group that asked
    attr_reader :source_group
    # @return [String, nil] the instance that asked
    attr_reader :instance_id
    # @return [Object, nil] the content of the request; nil also if it is not JSON (see {#raw_content})
    attr_reader :content
    # @return [String, nil] the content in bytes
    attr_reader :raw_content

    # @api private
    def initialize(engine, group, row)
      @engine = engine
      @group = group
      died_ms = row.delete(:died_ms)
      @suspect = row.delete(:suspect)
      @holders = holders_of(row.delete(:holders))
      @died_at = died_ms && Time.at(0, died_ms, :millisecond)
      row.each { |name, value| instance_variable_set(:"@#{name}", value) }
      freeze
    end

    # A request is a suspect from when it is delivered again (the process that had it died or hung) until it is answered
    # or given up on. One that stays was not answered in time: probably it crashed the processes that had it.
    # @return [Boolean] whether the request had not been given up on when this was written
    def suspect?
      @suspect
    end

    # Puts the request into its group's inbox again. It keeps its id, and its `redelivered?` is true. Nobody waits for
    # the answer any more: it is dropped and counted. Of concurrent retries and discards of one letter, exactly one
    # succeeds.
    # @param timeout [Numeric, nil] seconds until its new deadline; nil means `ledger: {max_timeout:}`
    # @return [Boolean] true; false if somebody retried or discarded it before
    # @raise [MalformedEntryError] if it never was a request: it can only be discarded
    # @raise [ArgumentError] if the timeout is out of range
    # @raise [CallError] if Redis cannot be reached or refuses
    def retry(timeout: nil)
      unless timeout.nil? || (timeout.is_a?(Numeric) && timeout.real?)
        raise ArgumentError, "the timeout must be a number of seconds, got #{timeout.inspect}"
      end

      FiberWaker.outside { @engine.retry_dead_letter(group, id, timeout&.to_f) }
    end

    # Deletes the letter.
    # @return [Boolean] true; false if somebody retried or discarded it before
    # @raise [CallError] if Redis cannot be reached or refuses
    def discard
      FiberWaker.outside { @engine.discard_dead_letter(group, id) }
    end

    # @return [String]
    def inspect
      LogText.line("#<#{self.class} #{id} of #{group}: #{LogText.of(reason)}>")
    end

    private

    # Any client of Redis may have written them.
    def holders_of(rows)
      rows = rows.is_a?(Array) ? rows.grep(Hash) : []
      rows.map do |row|
        { instance_id: row[:instance], host: row[:host], pid: row[:pid], delivery: row[:delivery] }.freeze
      end.freeze
    end
  end
end
