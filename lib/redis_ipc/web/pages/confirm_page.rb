# frozen_string_literal: true

module RedisIPC
  class Web
    # Asks once more before dead letters are deleted.
    # @api private
    class ConfirmPage < Page
      TEMPLATE = :confirm
      SECTION = :dead

      # @return [DeadLetterBox]
      attr_reader :box
      # @return [Array<String>]
      attr_reader :ids

      # @param context [Context]
      # @param box [DeadLetterBox]
      # @param ids [Array<String>]
      def initialize(context, box, ids)
        @box = box
        @ids = ids
        super(context)
      end

      # @return [String]
      def title
        Strings.text(:confirm_title, count: ids.size, name: box.name)
      end

      # @return [Boolean]
      def refresh?
        false
      end

      # @return [nil]
      def api
        nil
      end
    end
  end
end
