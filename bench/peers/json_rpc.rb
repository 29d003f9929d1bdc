# frozen_string_literal: true

require "redis_ipc"

module Bench
  module Peers
    # This gem's JSON-RPC over lists, with its default options, on the queue of the plain peer {Lists}.
    class JsonRpc
      QUEUE = "rpc:queue"

      def initialize(settings)
        @redis_options = { host: "127.0.0.1", port: settings.fetch(:port) }
        @threads = settings.fetch(:workers, 3)
      end

      def answer(&handler)
        @end = RedisIPC::JSONRPC::Server.new(QUEUE, redis_options: @redis_options, threads: @threads,
                                                    guarantee: guarantee)
        @end.on("echo", &handler)
        @end.connect
        nil
      end

      def connect
        @end = RedisIPC::JSONRPC::Client.new(QUEUE, redis_options: @redis_options, timeout: 60).connect
      end

      def call(content)
        @end.call("echo", content)
      end

      def close
        @end.disconnect
      end

      private

      def guarantee
        :at_least_once
      end
    end
  end
end
