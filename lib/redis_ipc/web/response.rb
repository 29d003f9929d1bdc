# frozen_string_literal: true

require "digest"

module RedisIPC
  class Web
    # An answer of HTTP.
    # @api private
    class Response
      # The page takes its own style and script, and sends forms to itself. Nobody else may show it in a frame.
      SECURITY = {
        "content-security-policy" =>
          "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " \
          "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-frame-options" => "DENY",
        "x-content-type-options" => "nosniff",
        "referrer-policy" => "same-origin",
        "cross-origin-opener-policy" => "same-origin",
        "cross-origin-resource-policy" => "same-origin"
      }.freeze
      private_constant :SECURITY

      class << self
        # @param html [String]
        # @return [Response]
        def html(html, status: 200)
          new(status, html, "content-type" => "text/html; charset=utf-8", **fresh(html))
        end

        # @param facts [Object]
        # @return [Response]
        def json(facts, status: 200)
          text = JSONText.of(facts)
          new(status, text, "content-type" => "application/json; charset=utf-8", **fresh(text))
        end

        # @param path [String]
        # @return [Response] the page that a browser shows after a form
        def see_other(path)
          new(303, "", "location" => path, "cache-control" => "no-store")
        end

        private

        # What the page shows is kept nowhere: the script remembers the tag, and asks with it.
        def fresh(text)
          { "etag" => "\"#{Digest::SHA256.hexdigest(text)[0, 32]}\"", "cache-control" => "no-store" }
        end
      end

      # @param status [Integer]
      # @param body [String]
      # @param headers [Hash{String => String}] with names in lower case
      def initialize(status, body, headers)
        @status = status
        @body = body
        @headers = headers
      end

      # @param request [Request, nil]
      # @return [Array(Integer, Hash, Array)] what Rack expects
      def finish(request)
        headers = SECURITY.merge(@headers)
        return [304, headers.slice("etag", "cache-control"), []] if unchanged?(request)
        return [@status, headers, []] if request&.head?

        [@status, headers, [@body]]
      end

      private

      def unchanged?(request)
        tag = @headers["etag"]
        @status == 200 && tag && request&.read? && request.header("IF_NONE_MATCH").to_s.include?(tag)
      end
    end
  end
end
