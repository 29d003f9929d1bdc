# frozen_string_literal: true

module RedisIPC
  module ACL
    # Makes the rules of who looks on ({Admin}), and of who acts, beyond those that all roles have.
    # @api private
    module AdminRoles
      # What is asked about a server: its memory, its clients, and which user it is that asks.
      NODES = %w[+time +select +info +client|list +acl|whoami].freeze
      # The stream of the records of consumers whose source is no stream.
      ELSEWHERE = "redis_ipc:events"
      INBOX = "+eval_ro +xlen +xrange +xread +xpending +xinfo|groups"
      DEAD = "+xrange +xrevrange +xlen"
      EVENTS = "+eval_ro +exists +xlen +xrange +xrevrange +xpending +xinfo +memory|usage"
      PRESENCE = "+zadd +zrange +zremrangebyscore +zrem +pexpire"
      REPLIES = "+xgroup +pexpire +xread +xreadgroup +xpending +xtrim +del"
      private_constant :NODES, :ELSEWHERE, :INBOX, :DEAD, :EVENTS, :PRESENCE, :REPLIES

      class << self
        def observer(stream: [], queue: [], events: [])
          names = names(stream: stream, queue: queue, events: events)
          [*NODES, *seen(names, &:itself),
           *names[:stream].flat_map { |name| looking_at_stream(name) },
           *names[:queue].flat_map { |name| looking_at_queue(name) },
           *names[:events].flat_map { |name| looking_at_events(name) }]
        end

        def operator(stream: [], queue: [], events: [], name: "admin")
          names = names(stream: stream, queue: queue, events: events)
          asker = RuleText.escaped("name", name).gsub(/[%:]/) { |character| format("%%%02X", character.ord) }
          [*observer(stream: stream, queue: queue, events: events), "+multi", "+exec", "+scan",
           *told(names),
           *names[:stream].flat_map { |one| acting_on_stream(one, asker) },
           *names[:queue].flat_map { |one| acting_on_queue(one) },
           *names[:events].flat_map { |one| acting_on_events(one) }]
        end

        private

        def names(**names)
          names = names.to_h { |what, list| [what, [*list].map { |name| RuleText.escaped("#{what}'s name", name) }] }
          return names if names.each_value.any?(&:any?)

          raise ArgumentError, "name stream:, queue: or events:"
        end

        # Who has records, the records, and what groups are told to do.
        def seen(names)
          [*names.each_value.reduce(:+), ELSEWHERE].uniq.flat_map do |name|
            ["(%R~#{name}:stats +zrange)", "(%R~#{name}:stats:* %R~#{name}:control:* +get +mget)"]
          end
        end

        def told(names)
          [*names.each_value.reduce(:+), ELSEWHERE].uniq.map { |name| "(~#{name}:control:* +get +set +del +eval)" }
        end

        def looking_at_stream(name)
          ["(%R~#{name}:instances +zrange)", "(%R~#{name}:inbox:* #{INBOX})", "(%R~#{name}:dead:* #{DEAD})"]
        end

        def looking_at_queue(name)
          ["(%R~#{name}:servers +zrange)", "(%R~#{name} +llen +lindex)", "(%R~#{name}:processing:* +llen)",
           "(%R~#{name}:dead +llen +lrange)"]
        end

        def looking_at_events(name)
          parts = (1..3).map { |digits| "%R~#{name}:#{"[0-9]" * digits}" }
          ["(%R~#{name} #{parts.join(" ")} #{EVENTS})", "(%R~#{name}:events:* +hgetall)", "(%R~#{name}:dead:* #{DEAD})"]
        end

        # A test request is asked by a member of the group `asker`.
        def acting_on_stream(name, asker)
          ["(%W~#{name}:inbox:* +xadd +xdel +pexpire)", "(%W~#{name}:dead:* +xdel)",
           "(~#{name}:replies:#{asker}:* #{REPLIES})", "(~#{name}:instances #{PRESENCE})",
           *RecordRules.of(name, asker), "(~#{name}:* +pttl +unlink)"]
        end

        def acting_on_queue(name)
          ["(~#{name} ~#{name}:dead +lpush +rpush +lrem +eval)", "(%R~#{name}:deliveries +hexists)",
           "(~#{name}:reply:* +blmove +lrange +ltrim +del)"]
        end

        def acting_on_events(name)
          parts = (1..3).map { |digits| "~#{name}:#{"[0-9]" * digits}" }
          ["(~#{name} #{parts.join(" ")} +eval +xadd +xclaim +xdel +xgroup|setid +xgroup|create)",
           "(%W~#{name}:dead:* +xdel)", "(~#{name}:events:* +eval +hgetall +hget +hset +hsetnx +hdel +hincrby)"]
        end
      end
    end
    private_constant :AdminRoles
  end
end
