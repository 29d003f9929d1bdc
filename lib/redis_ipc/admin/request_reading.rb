# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads what is in the inbox of a group.
    # @api private
    class RequestReading
      # An idle time of a week says that a request was given back: anybody may take it (docs/protocol.md, "Giving back").
      GIVEN_BACK = 604_800_000
      # The numbers of an id.
      ID = /\A(\d+)-(\d+)\z/
      private_constant :GIVEN_BACK, :ID

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

      private

      # A group that nobody has joined takes nothing.
      def no_group?(error)
        error.message.match?(/NOGROUP|no such key/i)
      end

      def merge(entries, taken)
        held = taken.to_h { |row| [row.first, row] }
        found = entries.map { |id, fields| request(id, fields || {}, held.delete(id)) }
        # Both lists are cut at the limit: what is behind the end of one of them is not known.
        ends = [entries, taken].filter_map { |list| place(list.last.first) if list.size >= @limit }.min
        gone = held.each_value.map { |row| request(row.first, nil, row) }
        all = (found + gone).sort_by { |request| place(request.redis_id) }
        all = all.select { |request| (place(request.redis_id) <=> ends) <= 0 } if ends
        all.first(@limit).freeze
      end

      def place(id)
        id.match(ID).captures.map(&:to_i)
      end

      def request(id, fields, row)
        sent = id.to_i / 1_000.0
        ttl = fields && Integer(fields["ttl"], 10, exception: false)
        _, holder, idle, deliveries = row
        is_free = row.nil? || (fields && idle >= GIVEN_BACK)
        Request.new(stream: @stream, group: @group, redis_id: id, id: fields && fields["id"],
                    from: fields && fields["source_group"], state: state(fields, is_free), age: @now - sent,
                    delivery: deliveries, holder: is_free ? nil : holder, idle: is_free ? nil : idle / 1_000.0,
                    expires_in: ttl && (sent + (ttl / 1_000.0) - @now))
      end

      def state(fields, is_free)
        return :withdrawn unless fields

        is_free ? :waiting : :taken
      end
    end
    private_constant :RequestReading
  end
end
