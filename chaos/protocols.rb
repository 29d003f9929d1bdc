# frozen_string_literal: true

module Chaos
  # What a load goes by: what its workers run, and where in Redis its requests are. `redis` is a client.
  module Protocols
    # Streams.
    module Streams
      class << self
        def program(role)
          role
        end

        # The ids of the questions that were given up on.
        def dead(redis)
          redis.xrange("house:dead:answerer").map { |_, fields| JSON.parse(fields["content"])["id"] }
        end

        # How many requests nobody has answered or dropped.
        def waiting(redis)
          redis.xlen("house:inbox:answerer")
        end
      end
    end

    # JSON-RPC, by lists.
    module JSONRPC
      class << self
        def program(role)
          "json_rpc_#{role}"
        end

        def dead(redis)
          requests = redis.lrange("house:dead", 0, -1).flat_map { |text| [JSON.parse(text)].flatten }
          requests.map { |request| request["params"].first["id"] }
        end

        def waiting(redis)
          ["house", *redis.keys("house:processing:*")].sum { |key| redis.llen(key) }
        end
      end
    end
  end
end
