# frozen_string_literal: true

module RedisIPC
  module ACL
    # Makes the rules of each role, beyond those that all roles have.
    # @api private
    module Roles
      PRESENCE = "+zadd +zrange +zremrangebyscore +zrem +pexpire"
      INBOX = "+xgroup +pexpire +xreadgroup +xautoclaim +xclaim +xpending +xack +xdel"
      LOOKS = "+xinfo|consumers +xinfo|stream +xinfo|groups +xlen +xrange"
      # The rights to keep, bound and read dead letters.
      DEAD = "+xadd +xtrim +xlen +pexpire +memory|usage +xrange +xdel"
      REPLIES = "+xgroup +pexpire +xread +xreadgroup +xpending +xtrim"
      LISTS = "+lpush +rpush +lpop +lmove +blmove +blmpop +lrange +lindex +llen +lpos +lrem +ltrim"
      SERVERS = "+zadd +zrange +zrem +zscore +hincrby +pexpire"
      PUBLISHED = "+xadd +eval +xrange +xinfo|groups +xpending +xlen +xtrim"
      EVENTS = "+eval +eval_ro +exists +xadd +xread +xreadgroup +xack +xclaim +xautoclaim +xpending +xgroup +xinfo " \
               "+xlen +xrange +xrevrange +memory|usage"
      FORWARDED = "+xadd +eval +xinfo|groups +xpending +xlen +xrange +xtrim +hmget +hset"
      LANES = "+eval +hgetall +hget +hset +hsetnx +hdel +hincrby"
      MEMBER = %w[+time +select +multi +exec].freeze
      private_constant :PRESENCE, :INBOX, :LOOKS, :DEAD, :REPLIES, :LISTS, :SERVERS, :PUBLISHED,
                       :EVENTS, :FORWARDED, :LANES, :MEMBER

      class << self
        def asker(stream:, group:, to:)
          stream = named("stream", stream)
          group = group(group)
          [*MEMBER,
           *[*to].flat_map { |asked| asking("#{stream}:inbox:#{group(asked)}") },
           "(~#{stream}:replies:#{group}:* #{REPLIES} +del)",
           "(~#{stream}:instances #{PRESENCE})", *RecordRules.of(stream, group)]
        end

        def answerer(stream:, group:, askers: nil)
          stream = named("stream", stream)
          group = group(group)
          answered = askers.nil? ? ["*"] : [*askers].map { |asker| "#{group(asker)}:*" }
          [*MEMBER,
           "(~#{stream}:inbox:#{group} #{INBOX} +xadd #{LOOKS} +eval +del)",
           *answered.map { |instances| "(~#{stream}:replies:#{instances} +xadd +memory|usage)" },
           "(~#{stream}:replies:#{group}:* #{REPLIES} +del)",
           "(~#{stream}:dead:#{group} #{DEAD})",
           "(~#{stream}:instances #{PRESENCE})", *RecordRules.of(stream, group)]
        end

        def sentinel
          %w[+sentinel|get-master-addr-by-name +sentinel|master]
        end

        def json_rpc_client(queue:)
          queue = named("queue", queue)
          ["+time", "+select", "(%W~#{queue} +lpush +lrem)", "(%R~#{queue}:deliveries +hexists)",
           "(%R~#{queue}:servers %R~#{queue}:stats +zrange)", "(%R~#{queue}:processing:* +lpos)",
           "(~#{queue}:reply:* +blmove +lrange +ltrim +del)"]
        end

        def json_rpc_server(queue:)
          queue = named("queue", queue)
          keys = ["", ":processing:*", ":servers", ":deliveries", ":dead"].map { |key| "~#{queue}#{key}" }
          [*MEMBER, "+client|id", "+client|unblock", "(#{keys.join(" ")} #{LISTS} #{SERVERS} +eval)",
           "(%W~#{queue}:reply:* +lpush +pexpire)", *RecordRules.of(queue, "")]
        end

        def event_publisher(stream:, partitions: nil)
          keys, ids = beside(stream, partitions, "id:*")
          ["+time", "+select", "(#{keys} #{ids} #{PUBLISHED})", "(#{ids} +get +set)"]
        end

        def event_forwarder(stream:, slot:, partitions: nil)
          keys, checkpoints = beside(stream, partitions, "#{named("slot", slot)}:forwarded")
          ["+time", "+select", "(#{keys} #{checkpoints} #{FORWARDED})", *RecordRules.without_stream(group(slot))]
        end

        def event_consumer(stream:, group:, partitions: nil)
          stream = named("stream", stream)
          group = group(group)
          keys = streams(stream, partitions).map { |name| "~#{name}" }
          ["+time", "+select", "(#{keys.join(" ")} #{EVENTS})", "(~#{stream}:dead:#{group} #{DEAD})",
           "(~#{stream}:events:#{group} #{LANES})", *RecordRules.of(stream, group)]
        end

        private

        # Returns patterns of the streams, and of keys beside each of them, in its slot of a cluster.
        def beside(stream, partitions, key)
          names = streams(named("stream", stream), partitions)
          is_tagged = stream.to_s.match?(/\{[^}]+\}/)
          [names.map { |name| "~#{name}" }.join(" "),
           names.map { |name| "~#{is_tagged ? name : "{#{name}}"}:events:#{key}" }.join(" ")]
        end

        # Returns patterns of the streams: a consumer of 16 partitions also looks whether there is a 17th.
        def streams(stream, partitions)
          return [stream] if partitions.nil?
          unless partitions.is_a?(Integer) && partitions.positive?
            raise ArgumentError, "partitions must be a whole number over 0, got #{partitions.inspect}"
          end

          Array.new(partitions.to_s.size) { |digits| "#{stream}:#{"[0-9]" * (digits + 1)}" }
        end

        def asking(inbox)
          ["(%W~#{inbox} +xadd +pexpire +xdel)", "(%R~#{inbox} +xinfo|groups +xpending)"]
        end

        # Encodes a group's name as the core does (keys.rs).
        def group(name)
          named("group", name).gsub(/[%:]/) { |character| format("%%%02X", character.ord) }
        end

        def named(what, name)
          RuleText.escaped(what, name)
        end
      end
    end
  end
end
