# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads the dead letters of a group.
    # @api private
    class LetterReading
      # The most letters that one round trip looks at.
      PAGE = 200
      # The most letters that are looked at for one that has an id somewhere.
      MATCHES = 20
      # An id of Redis.
      ENTRY = /\A\d+(?:-\d+)?\z/
      # What a letter has before the fields of its entry.
      ADDED = %w[dead_id dead_reason dead_deliveries dead_at dead_stream dead_holders dead_suspect].freeze
      private_constant :PAGE, :MATCHES, :ENTRY, :ADDED

      # @param link [Link]
      def initialize(link, stream, group)
        @link = link
        @stream = stream
        @group = group
      end

      # @param limit [Integer] the most letters
      # @param after [String, nil] the id of the last letter before
      # @param match [String, nil] only letters with this text in a field
      # @param in_content [Boolean] whether that may be the content
      # @return [Array<DeadLetter>] the newest first
      # @raise [CallError] if Redis cannot be reached or refuses
      def page(limit, after, match, in_content)
        found = []
        loop do
          size = match ? PAGE : [limit - found.size, PAGE].min
          rows = read([:dead_letters, @stream, @group, after, size, match, in_content])
          found.concat(rows.reject { |_, fields| fields == false })
          break if rows.size < size || found.size >= limit

          after = rows.last.first
        end
        found.first(limit).map { |id, fields| letter(id, fields || {}) }.freeze
      end

      # @param id [String] the letter's id, or one of those that its request or event had, which others know
      # @return [DeadLetter, nil]
      # @raise (see #page)
      def find(id)
        fields = fields_of(id) if id.match?(ENTRY)
        return letter(id, fields) if fields

        page(MATCHES, nil, id, false).find { |letter| [letter.redis_id, letter.request_id].include?(id) }
      end

      private

      def read(query)
        answer = @link.read([query]).first
        raise answer if answer.is_a?(Exception)

        answer
      end

      def letter(id, fields)
        died = Numbers.in_text(fields["dead_at"])
        own = fields.except(*ADDED)
        request = own.key?("destination_group")
        DeadLetter.new(
          stream: @stream, group: @group, id: id, redis_id: fields["dead_id"], reason: fields["dead_reason"],
          deliveries: Numbers.in_text(fields["dead_deliveries"]), died_at: Numbers.time(died),
          request_id: (own["id"] if request), from: own["source_group"], source: fields["dead_stream"],
          event: (own["type"] unless request), key: (own["key"] unless request), reader: reader(id),
          suspect: fields["dead_suspect"] == "1", holders: holders(fields["dead_holders"])
        )
      end

      def holders(text)
        holders = text && JSON.parse(text, symbolize_names: true)
        holders.grep(Hash).freeze if holders.is_a?(Array)
      rescue JSON::ParserError
        nil
      end

      def reader(id)
        -> { fields_of(id) }
      end

      def fields_of(id)
        _, fields = read([:dead_letter, @stream, @group, id]).first
        fields || nil
      end
    end
    private_constant :LetterReading
  end
end
