# frozen_string_literal: true

module RedisIPC
  class Web
    # Says why a page cannot be shown.
    # @api private
    class ErrorPage < Page
      TEMPLATE = :error
      SECTION = :error

      # @return [Integer]
      attr_reader :status
      # @return [String]
      attr_reader :message

      # @param context [Context]
      # @param status [Integer]
      # @param message [String]
      def initialize(context, status, message)
        @status = status
        @message = message
        super(context)
      end

      # @return [String]
      def title
        Strings.text(:"status#{status}")
      end

      # @return [Boolean] a page that Redis cannot fill shows itself once Redis is back
      def refresh?
        status == 503
      end

      # @return [nil]
      def api
        nil
      end

      # @return [Hash]
      def to_h
        { error: message }
      end
    end
  end
end
