# frozen_string_literal: true

module RedisIPC
  class Web
    # One queue of JSON-RPC, and its servers.
    # @api private
    class QueuePage < Page
      include Members

      TEMPLATE = :queue
      SECTION = :queues

      # @return [Admin::Queue]
      attr_reader :queue

      alias subject queue

      # @return [String]
      def title
        queue.name
      end

      # @return [Array<Admin::Instance>]
      def instances
        queue.servers
      end

      # @return [Hash]
      def to_h
        { queue: queue.to_h }
      end

      private

      def read
        name = request.fetch(:queue)
        @queue = found(admin.queue(name), name)
      end
    end
  end
end
