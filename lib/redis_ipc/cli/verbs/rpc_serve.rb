# frozen_string_literal: true

require_relative "../answerer"

module RedisIPC
  module CLI
    module Verbs
      # Serves a method by JSON-RPC.
      # @api private
      class RpcServe < Verb
        include Answerer

        # Seconds that a program may run: a server of JSON-RPC does not tell its methods the deadline of a call.
        LIMIT = 60.0
        private_constant :LIMIT

        verb "rpc serve"
        summary "serve a method by JSON-RPC, by an echo or a program"
        about <<~TEXT
          Serves METHOD on the list QUEUE, until Ctrl-C. --echo answers with the parameters. The program of --exec reads
          them as JSON from standard input: an array, or an object. What it writes to standard output is the result:
          JSON, or else text. If its status is not 0, the call is answered with an error that has what it wrote to
          standard error. Its environment has REDIS_IPC_METHOD.
        TEXT
        argument :queue, "the list that clients put their calls on"
        argument :method, "the method to serve"
        option :limit, "--limit SECONDS", "a program that runs longer is killed (60)",
               type: Float, default: LIMIT, over: 0
        shares :redis, :json
        endless
        ends_with 0 => "it was interrupted, or has answered --count calls"
        example "redis_ipc rpc serve calculator echo --echo", "answers so that a client can be tried"
        example "redis_ipc rpc serve calculator sum --exec 'jq add'", "answers with a program"

        private

        def serve
          server = JSONRPC::Server.new(given[:queue], threads: given[:threads], redis_options: redis_options)
          server.on(given[:method]) { |*positional, **named| answer(named.empty? ? positional : named) }
          server.on_error { |error| terminal.warn("redis_ipc: #{LogText.line(error.message)}") }
          server.connect
          terminal.warn("redis_ipc serves #{title}")
          @signals.wait
        ensure
          server&.disconnect
        end

        def title
          "#{LogText.of(given[:method])} on #{LogText.of(given[:queue])}"
        end

        def answer(params)
          started = Monotonic.now
          fulfilled, content = @program ? run_program(params) : [true, params]
          tell({ method: given[:method] }, LogText.of(given[:method]), fulfilled, [params, content],
               Monotonic.now - started)
          fulfilled ? content : raise(JSONRPC::Error, content)
        ensure
          count
        end

        def run_program(params)
          @program.run(JSON.generate(params), given[:limit], { "REDIS_IPC_METHOD" => given[:method] })
        end
      end
    end
  end
end
