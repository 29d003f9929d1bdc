# frozen_string_literal: true

module RedisIPC
  module Events
    # The methods of sources that are not streams: they have no group, and keep no events in Redis.
    # @api private
    module NoStream
      # @return [nil]
      def group; end

      # (see StreamSource#live?)
      def live?
        true
      end

      # (see StreamSource#title)
      def title
        name
      end

      # (see StreamSource#holds_keys?)
      def holds_keys?
        false
      end

      # @return [nil]
      def partitions; end
    end
    private_constant :NoStream
  end
end
