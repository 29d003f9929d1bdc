# frozen_string_literal: true

require_relative "../answerer"

# Answers by JSON-RPC.
class JSONRPCAnswerer < Chaos::Answerer
  private

  def open
    server = RedisIPC::JSONRPC::Server.new(@settings[:place], redis_options: redis_options, **@settings[:options])
    server.on("echo") { |question| answer(question) }
    server.on_error(&@journal.method(:told)).connect
  end
end

JSONRPCAnswerer.run if $PROGRAM_NAME == __FILE__
