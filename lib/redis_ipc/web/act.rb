# frozen_string_literal: true

require "uri"

module RedisIPC
  class Web
    # What a form does. It answers with the page that shows the result, so that a reload does nothing again.
    # @api private
    class Act
      # @param context [Context]
      def initialize(context)
        @context = context
      end

      private

      def request
        @context.request
      end

      def admin
        @context.admin
      end

      def permissions
        @context.permissions
      end

      def stream
        request.fetch(:stream)
      end

      def group
        request.fetch(:group)
      end

      def see(path, **parameters)
        Response.see_other("#{request.base}#{path}?#{URI.encode_www_form(parameters.compact)}")
      end
    end
  end
end
