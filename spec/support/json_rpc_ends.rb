# frozen_string_literal: true

# Makes JSON-RPC servers and clients in this process, and disconnects them after the example.
module JSONRPCEnds
  # A list of the queue to which answers may go.
  REPLY_TO = "calculator:reply:0123456789abcdef"

  # Returns a connected server. The block declares its methods.
  def rpc_server(queue = "calculator", **options)
    build_server(queue, **options).tap { |server| yield server if block_given? }.connect
  end

  def build_server(queue = "calculator", **options)
    RedisIPC::JSONRPC::Server.new(queue, redis_options: redis_options, **options).tap { |server| keep(server) }
  end

  # Returns a connected client.
  def rpc_client(queue = "calculator", **options)
    RedisIPC::JSONRPC::Client.new(queue, redis_options: redis_options, **options).tap { |client| keep(client) }.connect
  end

  # Pushes a text as a program with a plain Redis client does.
  def push(text, queue: "calculator")
    redis.lpush(queue, text)
  end

  # Returns the next answer on the list, as text.
  def pop(key = REPLY_TO)
    redis.brpop(key, timeout: 10)&.last || raise("no answer came on #{key}")
  end

  # Disconnects it after the example. Errors that `on_error` gets go to `errors`.
  def keep(opened)
    kept = errors
    opened.on_error { |error| kept << error }
    rpc_ends << opened
  end

  def rpc_ends
    @rpc_ends ||= []
  end
end

RSpec.configure do |config|
  config.include JSONRPCEnds
  config.after do
    rpc_ends.each(&:disconnect)
    rpc_ends.clear
  end
end
