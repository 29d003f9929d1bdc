# frozen_string_literal: true

module RedisIPC
  class Web
    # The servers of Redis.
    # @api private
    class RedisPage < Page
      TEMPLATE = :redis
      SECTION = :redis

      # @return [Array<Admin::Node>]
      attr_reader :nodes

      # @return [Hash]
      def to_h
        { nodes: hashes(nodes) }
      end

      private

      def read
        @nodes = admin.redis
      end
    end
  end
end
