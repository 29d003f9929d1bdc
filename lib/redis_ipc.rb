# frozen_string_literal: true

require "json"
require_relative "redis_ipc/version"
require_relative "redis_ipc/errors"
require_relative "redis_ipc/errors/error_text"
require_relative "redis_ipc/runtime/error_report"
require_relative "redis_ipc/runtime/monotonic"
require_relative "redis_ipc/runtime/patience"
require_relative "redis_ipc/runtime/patient_start"
require_relative "redis_ipc/runtime/content"
require_relative "redis_ipc/runtime/native"
require_relative "redis_ipc/runtime/undumpable"
require_relative "redis_ipc/runtime/pages"
require_relative "redis_ipc/runtime/instance_per_event"
require_relative "redis_ipc/request_reply/entry"
require_relative "redis_ipc/request_reply/dead_letter"
require_relative "redis_ipc/request_reply/dead_letters"
require_relative "redis_ipc/request_reply/response"
require_relative "redis_ipc/runtime/redis_options"
require_relative "redis_ipc/runtime/settings"
require_relative "redis_ipc/runtime/thread_pool"
require_relative "redis_ipc/runtime/logins"
require_relative "redis_ipc/runtime/fiber_waker"
require_relative "redis_ipc/runtime/nested_calls"
require_relative "redis_ipc/runtime/brief_mutex"
require_relative "redis_ipc/runtime/fiber_waits"
require_relative "redis_ipc/request_reply/future"
require_relative "redis_ipc/request_reply/chained_future"
require_relative "redis_ipc/runtime/instrumentation"
require_relative "redis_ipc/runtime/middleware"
require_relative "redis_ipc/runtime/framework"
require_relative "redis_ipc/runtime/application_frame"
require_relative "redis_ipc/runtime/configuration"
require_relative "redis_ipc/errors/log_text"
require_relative "redis_ipc/errors/json_text"
require_relative "redis_ipc/runtime/tracing"
require_relative "redis_ipc/runtime/correlation"
require_relative "redis_ipc/request_reply/call_pipeline"
require_relative "redis_ipc/request_reply/handler_pipeline"
require_relative "redis_ipc/runtime/running_handlers"
require_relative "redis_ipc/runtime/engine_session"
require_relative "redis_ipc/runtime/names"
require_relative "redis_ipc/runtime/byte_size"
require_relative "redis_ipc/acl"
require_relative "redis_ipc/runtime/lifecycle"
require_relative "redis_ipc/request_reply/session"
require_relative "redis_ipc/request_reply/handler_context"
require_relative "redis_ipc/request_reply/stream"
require_relative "redis_ipc/request_reply/channel_state"
require_relative "redis_ipc/request_reply/channel"
require_relative "redis_ipc/json_rpc"
require_relative "redis_ipc/runtime/signal_watch"
require_relative "redis_ipc/runtime/exit_blocks"
require_relative "redis_ipc/runtime/process_hooks"
require_relative "redis_ipc/events"
require_relative "redis_ipc/metrics"
require_relative "redis_ipc/probes"

# Request/reply between Ruby processes through the Redis they already run, and events.
#
# {Stream} asks and answers, {Channel} puts named events on top. {JSONRPC} speaks with every language. {Events} handles
# what is added to Redis Streams, published to channels, done to keys, or changed in PostgreSQL.
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
  autoload :Admin, File.expand_path("redis_ipc/admin", __dir__)

  class << self
    # Set by the railtie.
    # @return [OnRails::Channels, nil] the channels of the Rails application; nil elsewhere
    attr_accessor :channels
    # Set by the railtie.
    # @return [OnRails::Consumers, nil] the consumers of events of the Rails application; nil elsewhere
    attr_accessor :consumers

    # Stops taking requests and events in this process, for streams, channels, JSON-RPC servers and consumers of events
    # alike. Handlers that run go on and are answered, and calls may still be made. Call it when a server begins to
    # stop; it may be called in a trap block.
    # @return [nil]
    def quiet
      [channels, consumers].compact.each(&:quiet)
      ProcessHooks.quiet_all
    end

    # Disconnects all streams, channels, JSON-RPC servers and clients and consumers of events of this process at the
    # same time, as happens at the end of the process. Call it in a process that ends without its `at_exit` blocks: by
    # `exec` or `exit!`.
    # @param timeout [Numeric, nil] seconds that running handlers are given; nil means as at the end of the process
    # @return [nil]
    # @raise [ArgumentError] if the timeout is no number of seconds, or negative
    def disconnect(timeout: nil)
      timeout &&= Monotonic.finite(timeout)
      [channels, consumers].compact.each(&:quiet)
      ProcessHooks.disconnect_all(timeout)
    end
  end

  private_constant :Native, :Settings, :Session

  # The page is loaded where it is mounted.
  autoload :Web, File.expand_path("redis_ipc/web", __dir__)
end

require_relative "redis_ipc/railtie" if defined?(Rails::Railtie)
