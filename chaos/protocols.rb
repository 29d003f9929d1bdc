# frozen_string_literal: true

module Chaos
  # The ways to make calls: which program the workers run, and where Redis has their requests. `redis` is a client,
  # `place` the name of the stream or the queue.
  module Protocols
    # By streams.
    module Streams
      class << self
        def program(role)
          role
        end

        # Returns the ids of the questions that were given up on.
        def dead(redis, place = Scene::PLACE)
          letters = redis.xrange("#{place}:dead:answerer").map(&:last)
          letters.reject { |fields| fields["dead_suspect"] }.map { |fields| id_of(fields["content"]) }
        end

        # Returns the number of requests that nobody has answered or dropped.
        def waiting(redis, place = Scene::PLACE)
          redis.xlen("#{place}:inbox:answerer")
        end

        private

        # Returns a question's id. A request that could not be read has no content, or a cut one.
        def id_of(content)
          JSON.parse(content)["id"] if content
        rescue JSON::ParserError
          nil
        end
      end
    end

    # By JSON-RPC over lists.
    module JSONRPC
      class << self
        def program(role)
          "json_rpc_#{role}"
        end

        def dead(redis, place = Scene::PLACE)
          requests = redis.lrange("#{place}:dead", 0, -1).flat_map { |text| [JSON.parse(text)].flatten }
          requests.map { |request| request["params"].first["id"] }
        end

        def waiting(redis, place = Scene::PLACE)
          [place, *redis.keys("#{place}:processing:*")].sum { |key| redis.llen(key) }
        end
      end
    end
  end
end
