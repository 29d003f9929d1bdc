# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads a queue of JSON-RPC.
    # @api private
    class QueueReading
      # A server that has shown no sign of life for so many seconds counts as dead.
      DEAD_AFTER = 10
      # One that shows none (at most once) writes its record every ten seconds.
      UNWRITTEN = 30
      FIELDS = %i[handlers busy series wait run answered failed].freeze
      private_constant :DEAD_AFTER, :UNWRITTEN, :FIELDS

      # @param queue [String]
      def initialize(queue)
        @queue = queue
      end

      # @param questions [Rounds::Questions]
      # @return [Queue]
      def call(questions)
        @now = questions.now
        waiting, *facts = questions.hear(queries)
        raise waiting if waiting.is_a?(Exception)

        nearest, dead, control, seen, known = facts.map { |fact| fact unless fact.is_a?(Exception) }
        held, servers = servers(questions, (seen || []).each_slice(2).to_h, known || [])
        Queue.new(name: @queue, waiting: waiting, expires_in: expires_in(nearest), dead: dead, processing: held.sum,
                  servers: servers, **Members.new(servers.select(&:alive?)).fields(*FIELDS),
                  **Control.read(control).fields)
      end

      private

      def queries
        [[:queue, @queue], [:next_in_queue, @queue], [:queue_dead, @queue], [:control, @queue, ""],
         [:servers, @queue], [:known, @queue]]
      end

      def servers(questions, seen, known)
        ids = (Keys.readable(seen.keys) + known.filter_map { |group, id, _| id if group.empty? }).uniq
        held, records = ask_about(questions, ids)
        [held, ids.zip(records).filter_map { |id, record| server(id, seen[id], record) }.freeze]
      end

      def ask_about(questions, ids)
        queries = ids.map { |id| [:processing, @queue, id] } + ids.map { |id| [:record, @queue, "", id] }
        answers = questions.try(queries)
        [answers.shift(ids.size).map(&:to_i), answers]
      end

      def server(id, score, text)
        record = Record.read(text, @now)
        seen = score && (score.to_f / 1_000.0)
        return if record.nil? && (seen.nil? || @now - seen > DEAD_AFTER)

        fields = record ? record.fields : {}
        Instance.new(kind: :json_rpc, **fields, stream: @queue, group: "", id: id, **life(seen, fields))
      end

      def life(seen, fields)
        written = fields[:written]&.to_f
        is_alive = seen ? @now - seen < DEAD_AFTER : @now - written.to_f < UNWRITTEN
        last = [seen, written].compact.max
        { alive: is_alive, seen: last && Time.at(last), silent: last && silent(last, is_alive, fields, seen) }
      end

      # A server shows itself each half of a lease, or writes its record only.
      def silent(last, is_alive, fields, seen)
        lease = (fields[:settings] || {})["lease"]
        every = lease / 2_000.0 if seen && lease.is_a?(Numeric)
        Silence.of(@now - last, alive: is_alive, every: every)
      end

      def expires_in(text)
        request = text && JSON.parse(text)
        request = request.first if request.is_a?(Array)
        deadline = Numbers.moment(request["deadline"]) if request.is_a?(Hash)
        deadline - @now if deadline
      rescue JSON::ParserError, EncodingError
        nil
      end
    end
    private_constant :QueueReading
  end
end
