# frozen_string_literal: true

module RedisIPC
  # A dead letter is a request that was given up on. It is frozen.
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
    # @return [Time, nil] when it was given up on, on Redis's clock
    attr_reader :died_at
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
      @died_at = died_ms && Time.at(0, died_ms, :millisecond)
      row.each { |name, value| instance_variable_set(:"@#{name}", value) }
      freeze
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
  end
end
