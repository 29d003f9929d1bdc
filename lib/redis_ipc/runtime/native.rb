# frozen_string_literal: true

require_relative "../library"

module RedisIPC
  # The namespace of what the Rust extension (ext/redis_ipc) defines, for this library alone.
  # @api private
  module Native
  end
end

require RedisIPC::Library.path
