# frozen_string_literal: true

require_relative "current"

module RedisIPC
  module OnRails
    # The innermost Rack middleware. It notes the id that Rails gave the HTTP request, for the requests sent meanwhile.
    # @api private
    class RequestId
      def initialize(app)
        @app = app
      end

      def call(env)
        Current.request_id = env["action_dispatch.request_id"]
        @app.call(env)
      end
    end
  end
end
