# frozen_string_literal: true

require "uri"

module RedisIPC
  class Web
    # Decides whether a form was sent by a page of this application. A browser says so in Sec-Fetch-Site, which no page
    # can set. A browser that does not know that header sends Origin with every form; it has to name this host.
    # @api private
    module Origin
      # @param request [Request]
      # @raise [Forbidden] if another site sent it, or the request does not say which
      def self.check(request)
        site = request.header("SEC_FETCH_SITE")
        return if site ? site == "same-origin" : own?(request)

        raise Forbidden, Strings.text(:other_site)
      end

      # Browsers look a name up that a page chose, so a page of another site could reach a server of this machine under
      # a name of its own (DNS rebinding).
      # @param request [Request]
      # @param hosts [Array<String>, nil] the only names by which the server may be called; nil for all
      # @raise [Forbidden]
      def self.check_host(request, hosts)
        return if hosts.nil? || hosts.include?(request.header("HOST").to_s.sub(/:\d+\z/, "").downcase)

        raise Forbidden, Strings.text(:other_host, hosts: hosts.join(", "))
      end

      def self.own?(request)
        origin = URI.parse(request.header("ORIGIN").to_s)
        return false unless origin.is_a?(URI::HTTP)

        port = ":#{origin.port}" unless origin.port == origin.default_port
        "#{origin.host}#{port}".casecmp?(request.header("HOST").to_s)
      rescue URI::InvalidURIError
        false
      end
      private_class_method :own?
    end
  end
end
