# frozen_string_literal: true

module RedisIPC
  # What the Rust extension (ext/redis_ipc) defines: for this library alone.
  # @api private
  module Native; end
end

require "redis_ipc.so"
