# frozen_string_literal: true

# JSON-RPC servers and clients of this process, disconnected after the example.
module JSONRPCEnds
  # A list that answers of the queue may go to.
  REPLY_TO = "calculator:reply:0123456789abcdef"

  # A server that is connected; the block declares its methods.
  def rpc_server(queue = "calculator", **options)
    build_server(queue, **options).tap { |server| yield server if block_given? }.connect
  end

  def build_server(queue = "calculator", **options)
    RedisIPC::JSONRPC::Server.new(queue, redis_options: redis_options, **options).tap { |server| keep(server) }
  end

  # A client that is connected.
  def rpc_client(queue = "calculator", **options)
    RedisIPC::JSONRPC::Client.new(queue, redis_options: redis_options, **options).tap { |client| keep(client) }.connect
  end

  # What a stranger with a plain Redis client sends.
  def push(text, queue: "calculator")
    redis.lpush(queue, text)
  end

  # The next answer on the list, as text.
  def pop(key = REPLY_TO)
    redis.brpop(key, timeout: 10)&.last || raise("no answer came on #{key}")
  end

  # Disconnects it after the example; what on_error is told is kept in `errors`.
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
