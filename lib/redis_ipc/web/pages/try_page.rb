# frozen_string_literal: true

require "json"

module RedisIPC
  class Web
    # Sends a request, as a group's asker or as a client of JSON-RPC would, and shows what became of it.
    # @api private
    class TryPage < Page
      TEMPLATE = :try
      SECTION = :try
      TIMEOUT = 5.0
      # The form occupies a thread of the web server meanwhile.
      LONGEST = 30.0
      private_constant :TIMEOUT, :LONGEST

      # @return [Array<Admin::Group>]
      attr_reader :groups
      # @return [Array<Admin::Queue>]
      attr_reader :queues
      # @return [Admin::Answer, nil]
      attr_reader :answer
      # @return [String, nil] what is wrong with the form
      attr_reader :fault

      # @param name [Symbol]
      # @return [String, nil] what the form said, or the link to it
      def given(name)
        request[name]
      end

      # @return [Integer]
      def status
        fault ? 422 : 200
      end

      # @return [Boolean]
      def refresh?
        false
      end

      # @return [nil]
      def api
        nil
      end

      private

      def read
        overview = admin.overview
        @groups = overview.groups
        @queues = overview.queues
        return unless request.post?

        permissions.check_act
        @answer = given(:queue) ? call : ask
      rescue BadRequest, ArgumentError => e
        @fault = e.message
      end

      def ask
        admin.request(request.fetch(:stream), request.fetch(:group), content, event: given(:event), timeout: timeout)
      end

      def call
        admin.call(given(:queue), request.fetch(:method), content, timeout: timeout)
      end

      def content
        JSON.parse(given(:content) || "null")
      rescue JSON::ParserError
        raise BadRequest, Strings.text(:not_json)
      end

      def timeout
        seconds = Float(given(:timeout) || TIMEOUT)
        return seconds if seconds.positive? && seconds <= LONGEST

        raise BadRequest, Strings.text(:timeout_range, most: LONGEST.to_i)
      end
    end
  end
end
