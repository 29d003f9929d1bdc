# frozen_string_literal: true

module RedisIPC
  module Events
    # A dead letter is an event that was given up on. It is frozen.
    class DeadLetter
      include Undumpable

      # @return [String] Redis's id of the dead letter, `"ms-sequence"`
      attr_reader :id
      # @return [String] the stream of the entry; with partitions the stream of the partition
      attr_reader :source
      # @return [String] the id that the entry had in the stream
      attr_reader :position
      # @return [String] why it was given up on: the exception's class and message
      attr_reader :reason
      # @return [Integer] how often it was tried
      attr_reader :attempts
      # @return [Time] when it was given up on, on Redis's clock
      attr_reader :died_at
      # @return [Hash{String => String}] the fields of the entry as they are
      attr_reader :fields

      # @api private
      def initialize(engine, row, format)
        @engine = engine
        @format = format
        @id, @position, @reason, @attempts, @fields = row.values_at(:id, :entry_id, :reason, :deliveries, :fields)
        @source = row[:stream] || format.source
        @entry = Events.stored([@position, nil, @fields])
        @died_at = Time.at(0, row[:died_ms], :millisecond)
        freeze
      end

      # @return [String, nil] as {ChangeEvent#type}
      def type
        @format.type(@entry)
      end

      # @return [String, nil] as {ChangeEvent#key}
      def key
        @format.key(@entry)
      end

      # @return [Object] as {ChangeEvent#data}; nil also if that cannot be read (see {#fields})
      def data
        @format.data(@entry)
      rescue MalformedEntryError
        nil
      end

      # Lets this group handle the event again, as if for the first time, and deletes the letter. If the stream no
      # longer has the event, a copy is added to its end, which every group gets. With an order the event is handled
      # with the fields in the letter, and the letter is deleted once the event is done. Of concurrent retries and
      # discards of one letter, exactly one succeeds.
      # @return [Boolean] true; false if someone retried or discarded it before
      # @raise [CallError] if Redis cannot be reached or refuses
      # @raise [MalformedEntryError] if the letter has only a part of the event, and the stream no longer has the event
      def retry
        FiberWaker.outside { @engine.retry_dead_letter(id) }
      end

      # Deletes the letter.
      # @return [Boolean] true; false if someone retried or discarded it before
      # @raise [CallError] if Redis cannot be reached or refuses
      def discard
        FiberWaker.outside { @engine.discard_dead_letter(id) }
      end

      # @return [String]
      def inspect
        LogText.line("#<#{self.class} #{id} of #{source}: #{LogText.of(reason)}>")
      end
    end
  end
end
