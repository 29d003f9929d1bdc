# frozen_string_literal: true

module RedisIPC
  # What a framework puts around the user's code: Rails its executor. Set once, at boot.
  # @api private
  module Execution
    class << self
      # @return [#call, nil] called with the entry and a block: around each handler
      attr_accessor :around_handler
      # @return [#call, nil] called with the entry (or nil) and a block: around `on_error` and `Future#then` blocks
      attr_accessor :around_callback
      # @return [#call, nil] called with a block: around the waiting of a call for its answer
      attr_accessor :around_wait

      # @return [#call, nil] called for the logger of what was given none
      attr_accessor :default_logger

      def handler(entry, &block)
        around_handler ? around_handler.call(entry, &block) : yield
      end

      # @param entry [Entry, nil] the request it is about
      def callback(entry = nil, &block)
        around_callback ? around_callback.call(entry, &block) : yield
      end

      def wait(&block)
        around_wait ? around_wait.call(&block) : yield
      end
    end
  end
  private_constant :Execution
end
