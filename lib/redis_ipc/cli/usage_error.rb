# frozen_string_literal: true

module RedisIPC
  module CLI
    # The command was called in a wrong way.
    # @api private
    class UsageError < StandardError; end
  end
end
