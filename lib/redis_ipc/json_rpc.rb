# frozen_string_literal: true

require_relative "json_rpc/error"
require_relative "json_rpc/signature"
require_relative "json_rpc/answer_room"
require_relative "json_rpc/procedures"
require_relative "json_rpc/envelope"
require_relative "json_rpc/middleware"
require_relative "json_rpc/invocation"
require_relative "json_rpc/handler_pipeline"
require_relative "json_rpc/delivery"
require_relative "json_rpc/outgoing_call"
require_relative "json_rpc/call_pipeline"
require_relative "json_rpc/session"
require_relative "json_rpc/endpoint"
require_relative "json_rpc/server"
require_relative "json_rpc/request"
require_relative "json_rpc/batch"
require_relative "json_rpc/proxy"
require_relative "json_rpc/client"

module RedisIPC
  # JSON-RPC 2.0 over Redis lists: methods for, and from, any language with a Redis client.
  #
  # @example A server
  #   server = RedisIPC::JSONRPC::Server.new("calculator")
  #   server.on("subtract") { |minuend:, subtrahend:| minuend - subtrahend }
  #   server.connect
  #
  # @example A client
  #   client = RedisIPC::JSONRPC::Client.new("calculator").connect
  #   client.call("subtract", 42, 23)                      #=> 19
  #   client.call("subtract", minuend: 42, subtrahend: 23) #=> 19
  #
  # @see file:docs/json_rpc.md What goes over the wire
  module JSONRPC
    private_constant :Signature, :AnswerRoom, :Delivery, :Procedures, :Envelope, :Session, :HandlerPipeline,
                     :CallPipeline
  end
end
