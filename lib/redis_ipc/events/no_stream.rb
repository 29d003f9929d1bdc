# frozen_string_literal: true

module RedisIPC
  module Events
    # What sources have in common that are no streams: Redis keeps none of their events.
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
