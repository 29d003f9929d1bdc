# frozen_string_literal: true

require "json"
require "redis"
require "securerandom"

module Bench
  module Peers
    # JSON-RPC over Redis lists: RPUSH to a queue, BLPOP from it, and the answer on a list for each call. A call takes
    # five commands. Every thread has a connection of its own, because BLPOP occupies one.
    class Lists
      QUEUE = "rpc:queue"
      # The longest blocking read in seconds, so that nothing hangs for ever.
      PATIENCE = 5
      ANSWER_EXPIRES = 60

      def initialize(settings)
        @port = settings.fetch(:port)
        @loops = settings.fetch(:workers, default_loops)
      end

      def answer(&handler)
        ready = Queue.new
        # redis-rb 5 has another hiredis driver. A loop that cannot start must end the process.
        @threads = Array.new(@loops) do
          Thread.new { serve(handler, ready) }.tap { |thread| thread.abort_on_exception = true }
        end
        @loops.times { ready.pop }
        nil
      end

      def connect
        connection.ping
      end

      def call(content)
        id = SecureRandom.uuid
        reply_to = "rpc:reply:#{id}"
        connection.rpush(QUEUE, JSON.generate({ jsonrpc: "2.0", id: id, method: "echo", params: [content],
                                                reply_to: reply_to }))
        _, text = connection.blpop(reply_to, timeout: 60)
        JSON.parse(text).fetch("result")
      end

      def close
        exit!(0)
      end

      private

      def default_loops
        1
      end

      def driver
        :ruby
      end

      def connection
        Thread.current.thread_variable_get(:connection) || open.tap do |redis|
          Thread.current.thread_variable_set(:connection, redis)
        end
      end

      def open
        Redis.new(host: "127.0.0.1", port: @port, driver: driver, reconnect_attempts: 0)
      end

      def serve(handler, ready)
        redis = open
        redis.ping
        ready << true
        loop do
          _, text = redis.blpop(QUEUE, timeout: PATIENCE)
          next unless text

          request = JSON.parse(text)
          answer = JSON.generate({ jsonrpc: "2.0", id: request["id"], result: handler.call(request["params"].first) })
          redis.pipelined do |pipeline|
            pipeline.rpush(request["reply_to"], answer)
            pipeline.expire(request["reply_to"], ANSWER_EXPIRES)
          end
        end
      end
    end
  end
end
