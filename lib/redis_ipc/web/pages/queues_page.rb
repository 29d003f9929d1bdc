# frozen_string_literal: true

module RedisIPC
  class Web
    # The queues of JSON-RPC.
    # @api private
    class QueuesPage < Page
      TEMPLATE = :queues
      SECTION = :queues

      # @return [Array<Admin::Queue>]
      attr_reader :queues

      # @return [Hash]
      def to_h
        { queues: hashes(queues) }
      end

      private

      def read
        @queues = admin.queues
      end
    end
  end
end
