# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads what is in the inbox of a group.
    # @api private
    class RequestReading
      # An idle time of a week says that a request was given back: anybody may take it (docs/protocol.md, "Giving
      # back").
      GIVEN_BACK = 604_800_000
      # The numbers of an id.
      ID = /\A(\d+)-(\d+)\z/
      private_constant :GIVEN_BACK, :ID

      # @param rows [Array<Array(String, Hash)>]
      # @return [Array<Request>] of entries that were just added
      def self.tapped(stream, group, rows, now)
        reading = new(stream, group, rows.size, nil)
        rows.map { |id, fields| reading.tapped(id, fields || {}, now) }.freeze
      end

      # @param limit [Integer] the most rows
      # @param after [String, nil] the Redis id of the last row before
      def initialize(stream, group, limit, after)
        @stream = stream
        @group = group
        @limit = limit
        @after = after
      end

      # @param questions [Rounds::Questions]
      # @return [Array<Request>] the oldest first
      def call(questions)
        @now = questions.now
        entries, taken = questions.hear([[:requests, @stream, @group, @after, @limit],
                                         [:taken, @stream, @group, @after, @limit]])
        raise entries if entries.is_a?(Exception)
        raise taken if taken.is_a?(Exception) && !no_group?(taken)

        merge(entries, taken.is_a?(Array) ? taken : [])
      end

      # @return [Request]
      def tapped(id, fields, now)
        @now = now
        made(id, id: fields["id"], from: fields["source_group"], state: :waiting, text: fields["content"],
                 expires_in: expires_in(id, fields["ttl"]))
      end

      private

      # A group that nobody has joined takes nothing.
      def no_group?(error)
        error.message.match?(/NOGROUP|no such key/i)
      end

      def merge(entries, taken)
        held = taken.to_h { |row| [row.first, row] }
        # Of a repeated field the first counts.
        found = entries.map { |id, fields| request(id, fields.each_slice(2).reverse_each.to_h, held.delete(id)) }
        gone = held.each_value.map { |row| withdrawn(row) }
        all = (found + gone).sort_by { |request| place(request.redis_id) }
        known(all, entries, taken).first(@limit).freeze
      end

      # Both lists are cut at the limit: what is behind the end of one of them is not known.
      def known(all, *lists)
        ends = lists.filter_map { |list| place(list.last.first) if list.size >= @limit }.min
        ends ? all.select { |request| (place(request.redis_id) <=> ends) <= 0 } : all
      end

      def place(id)
        id.match(ID).captures.map(&:to_i)
      end

      def request(id, fields, row)
        _, holder, idle, deliveries = row
        is_taken = idle && idle < GIVEN_BACK
        made(id, delivery: deliveries, id: fields["id"], from: fields["source_group"],
                 state: is_taken ? :taken : :waiting, expires_in: expires_in(id, fields["ttl"]),
                 **(is_taken ? { holder: holder, idle: idle / 1_000.0 } : {}))
      end

      def withdrawn(row)
        id, holder, idle, deliveries = row
        made(id, state: :withdrawn, holder: holder, idle: idle / 1_000.0, delivery: deliveries)
      end

      def made(redis_id, **fields)
        Request.new(stream: @stream, group: @group, redis_id: redis_id, age: (@now - sent(redis_id)).clamp(0.0, nil),
                    **fields)
      end

      def sent(id)
        id.to_i / 1_000.0
      end

      def expires_in(id, ttl)
        ttl = Numbers.in_text(ttl)
        sent(id) + (ttl / 1_000.0) - @now if ttl
      end
    end
    private_constant :RequestReading
  end
end
