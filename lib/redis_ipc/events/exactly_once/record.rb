# frozen_string_literal: true

require "digest"

module RedisIPC
  module Events
    class ExactlyOnce # rubocop:disable Style/Documentation -- in exactly_once.rb
      # The row of an event.
      # @!attribute event_id [String] the entry's id, after `PARTITION/` where there are partitions; or `id:` and the id
      #   that its publisher gave it; of a change in PostgreSQL its position, its place in the transaction, and which
      #   transaction that was
      # @!attribute ms [Integer] of the entry's id; of a change the position as a number
      # @!attribute spot [Array(Integer, Integer), nil] the lane and its epoch; nil without an order
      # @api private
      Record = Struct.new(:native, :event, :event_id, :ms, :spot) do
        # @return [Boolean] whether it was marked as failed
        def failed?
          !event.failure.nil?
        end
      end

      # Makes rows of events.
      class << Record
        # The highest number that a signed column of 8 bytes holds.
        MOST = (2**63) - 1
        # All other bytes are escaped in a part of a consumer's name. `/` separates the parts.
        PLAIN = /[^A-Za-z0-9\-_.:{}]/n
        # Bytes.
        LONGEST = 255
        private_constant :MOST, :PLAIN, :LONGEST

        # @param native [Native::StreamEvent]
        # @param event [ChangeEvent]
        # @return [Record]
        def of(native, event)
          return of_change(native, event) if event.kind == :wal

          given = event.publisher_id
          id = given ? "id:#{text(given)}" : [event.place[:partition], native.id].compact.join("/")
          new(native, event, id, [native.ms, MOST].min, ([native.lane, native.fence] if native.fence))
        end

        # @param name [String] of a stream or a group
        # @return [String] its form in the tables
        def part(name)
          name.b.gsub(PLAIN) { |byte| format("%%%02X", byte.ord) }.force_encoding(Encoding::UTF_8)
        end

        private

        # A position of PostgreSQL's log may come again, for something else, after a failover or in a restored copy. So
        # the id also has which transaction it was, and when.
        def of_change(native, event)
          transaction = event.transaction
          told = [transaction.index, transaction.id, transaction.committed_us] if transaction
          high, low = event.position.split("/").map { |part| part.to_i(16) }
          new(native, event, [event.position, *(told || "message")].join("/"), [(high << 32) | low, MOST].min, nil)
        end

        # Text of PostgreSQL holds nothing but valid characters.
        def text(id)
          plain = id.encoding == Encoding::UTF_8 && !id.include?("\0") && id.bytesize <= LONGEST
          plain ? id : Digest::SHA256.hexdigest(id)
        end
      end
    end
  end
end
