# frozen_string_literal: true

module RedisIPC
  module ACL
    # Makes the rules for the record of an instance (docs/protocol.md, "The record").
    # @api private
    module RecordRules
      class << self
        # @param stream [String] a pattern of the stream or the queue
        # @param group [String] a pattern of the group; empty for a queue
        # @return [Array<String>] what an instance of the group needs to write its record, and to read what it is told
        def of(stream, group)
          ["(~#{stream}:stats:#{group}:* +set +get +del)",
           "(~#{stream}:stats +zadd +zrange +zremrangebyscore +zrem +pexpire)",
           "(%R~#{stream}:control:#{group} +get)"]
        end

        # @param consumer [String] a pattern of the name of a consumer of events without a stream
        # @return (see of)
        def without_stream(consumer)
          of("redis_ipc:events", consumer)
        end
      end
    end
    private_constant :RecordRules
  end
end
