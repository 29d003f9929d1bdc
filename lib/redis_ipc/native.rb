# frozen_string_literal: true

module RedisIPC
  # What the Rust extension (ext/redis_ipc) defines: for this library alone.
  # @api private
  module Native; end
end

# A platform gem brings one library for each Ruby; the source gem and the checkout have the one that was built there.
precompiled = File.join(__dir__, RUBY_VERSION[/\A\d+\.\d+/], "redis_ipc.so")
require File.exist?(precompiled) ? precompiled : "redis_ipc.so"
