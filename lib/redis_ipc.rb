# frozen_string_literal: true

require "json"
require_relative "redis_ipc/version"
require_relative "redis_ipc/errors"
require_relative "redis_ipc/error_text"
require_relative "redis_ipc/error_report"
require_relative "redis_ipc/monotonic"
require_relative "redis_ipc/patience"
require_relative "redis_ipc/content"
require_relative "redis_ipc/native"
require_relative "redis_ipc/no_engine"
require_relative "redis_ipc/undumpable"
require_relative "redis_ipc/entry"
require_relative "redis_ipc/dead_letter"
require_relative "redis_ipc/dead_letters"
require_relative "redis_ipc/response"
require_relative "redis_ipc/redis_options"
require_relative "redis_ipc/settings"
require_relative "redis_ipc/thread_pool"
require_relative "redis_ipc/logins"
require_relative "redis_ipc/fiber_bell"
require_relative "redis_ipc/nested_calls"
require_relative "redis_ipc/brief_mutex"
require_relative "redis_ipc/fiber_waits"
require_relative "redis_ipc/future"
require_relative "redis_ipc/chained_future"
require_relative "redis_ipc/instrumentation"
require_relative "redis_ipc/middleware"
require_relative "redis_ipc/framework"
require_relative "redis_ipc/configuration"
require_relative "redis_ipc/log_text"
require_relative "redis_ipc/tracing"
require_relative "redis_ipc/correlation"
require_relative "redis_ipc/asking"
require_relative "redis_ipc/handling"
require_relative "redis_ipc/engine_session"
require_relative "redis_ipc/names"
require_relative "redis_ipc/acl"
require_relative "redis_ipc/lifecycle"
require_relative "redis_ipc/session"
require_relative "redis_ipc/handler_context"
require_relative "redis_ipc/stream"
require_relative "redis_ipc/params"
require_relative "redis_ipc/channel_state"
require_relative "redis_ipc/channel"
require_relative "redis_ipc/json_rpc"
require_relative "redis_ipc/signal_watch"
require_relative "redis_ipc/exit_blocks"
require_relative "redis_ipc/process_hooks"

# Request/reply between Ruby processes through the Redis they already run.
#
# {Stream} asks and answers, {Channel} puts named events on top. {JSONRPC} speaks with every language.
#
# @example One process answers
#   stream = RedisIPC::Stream.new("electric_household", "child")
#   stream.on_request { |entry| fulfill_request(entry, content: "Yes, creators") }
#   stream.connect
#
# @example Another asks
#   stream = RedisIPC::Stream.new("electric_household", "parent").connect
#   stream.send_to_group(content: "Please do this", to: "child").value #=> "Yes, creators"
module RedisIPC
  class << self
    # Set by the railtie.
    # @return [OnRails::Channels, nil] the channels of the Rails application; nil elsewhere
    attr_accessor :channels

    # Stops taking requests in this process, for streams, channels and JSON-RPC servers alike. Handlers that run go on
    # and are answered, and calls may still be made. Call it when a server begins to stop; it may be called in a trap
    # block.
    # @return [nil]
    def quiet
      channels&.quiet
      ProcessHooks.quiet_all
    end

    # Disconnects all streams, channels and JSON-RPC servers and clients of this process at the same time, as happens at
    # the end of the process. Call it in a process that ends without its `at_exit` blocks: by `exec` or `exit!`.
    # @param timeout [Numeric, nil] seconds that running handlers are given; nil means as at the end of the process
    # @return [nil]
    # @raise [ArgumentError] if the timeout is no number of seconds, or negative
    def disconnect(timeout: nil)
      timeout &&= Monotonic.finite(timeout)
      channels&.quiet
      ProcessHooks.disconnect_all(timeout)
    end
  end

  private_constant :Native, :Settings, :Session
end

require_relative "redis_ipc/railtie" if defined?(Rails::Railtie)
