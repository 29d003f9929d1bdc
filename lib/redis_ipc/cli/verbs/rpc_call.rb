# frozen_string_literal: true

module RedisIPC
  module CLI
    module Verbs
      # Calls a method by JSON-RPC.
      # @api private
      class RpcCall < Verb
        verb "rpc call"
        summary "call a method by JSON-RPC, and print its result"
        about <<~TEXT
          Calls METHOD of a server on the list QUEUE, in whatever language that is written, and prints the result as
          JSON. An error of the method goes to standard error. A parameter that begins with a hyphen needs a -- before
          it: redis_ipc rpc call calculator add -- -2 3
        TEXT
        argument :queue, "the list that the server takes requests from"
        argument :method, "the method to call"
        argument :params, "its parameters by position, each of them JSON", many: true
        option :named, "-n", "--named JSON", "its parameters by name: an object"
        option :notify, "--notify", "send a notification, which has no result"
        option :timeout, "-t", "--timeout SECONDS", "the answer must come within so long (5)",
               type: Float, default: 5.0, over: 0
        shares :redis, :json
        ends_with 4, 5, 0 => "there is a result", 3 => "the method was answered with an error"
        example "redis_ipc rpc call calculator subtract 42 23", "prints 19"
        example %q(redis_ipc rpc call calculator subtract -n '{"minuend":42,"subtrahend":23}'), "the same by name"

        def run
          params = self.params
          client = JSONRPC::Client.new(given[:queue], timeout: given[:timeout], redis_options: redis_options)
          client.on_error { |error| terminal.warn("redis_ipc: #{LogText.line(error.message)}") }
          client.connect
          given[:notify] ? notify(client, params) : call(client, params)
        rescue JSONRPC::Error => e
          tell(e)
        ensure
          client&.disconnect
        end

        private

        def params
          positional = given[:params].map { |text| json_of(text, "the parameter") }
          return positional unless given[:named]
          raise UsageError, "parameters are either by position or by name" unless positional.empty?

          named = json_of(given[:named], "--named")
          named.is_a?(Hash) ? named : raise(UsageError, "--named needs an object, such as '{\"minuend\":42}'")
        end

        def call(client, params)
          started = Monotonic.now
          result = client.request(given[:method], params)
          seconds = (Monotonic.now - started).round(6)
          terminal.json? ? terminal.json({ outcome: "fulfilled", result: result, seconds: seconds }) : show(result)
        end

        def show(result)
          terminal.say(terminal.pretty(result))
        end

        # A notification takes its parameters as a call of Ruby does.
        def notify(client, params)
          if params.is_a?(Hash)
            client.notify(given[:method],
                          **params.transform_keys(&:to_sym))
          else
            client.notify(given[:method], *params)
          end
          terminal.json({ outcome: "sent" }) if terminal.json?
        end

        def tell(error)
          terminal.json({ outcome: "rejected", error: error.to_h }) if terminal.json?
          terminal.warn("redis_ipc: #{LogText.of(given[:queue])} answered with the error #{error.code}: " \
                        "#{LogText.line(error.message)}")
          terminal.warn(terminal.pretty(error.data)) unless error.data.nil? || terminal.json?
          ExitStatus::REJECTED
        end
      end
    end
  end
end
