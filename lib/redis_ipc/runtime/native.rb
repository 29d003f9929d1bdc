# frozen_string_literal: true

require_relative "../library"

module RedisIPC
  # The namespace of what the Rust extension (ext/redis_ipc) defines. Only this library uses it.
  # @api private
  module Native
  end
end

require RedisIPC::Library.path
