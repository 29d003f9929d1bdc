# frozen_string_literal: true

require "uri"

module RedisIPC
  class Web
    # One HTTP request, read from a Rack environment.
    # @api private
    class Request
      # A form holds a selection of dead letters, or the content of a test request.
      MOST_BYTES = 1024 * 1024
      # The form sends the content of a test request as text in UTF-8.
      FORM = "application/x-www-form-urlencoded"
      private_constant :MOST_BYTES, :FORM

      # @return [Hash] the Rack environment
      attr_reader :env
      # @return [Hash{String => Array<String>}] the values of the query
      attr_reader :query
      # @return [Hash{String => Array<String>}] the values of the form; empty unless it is a POST
      attr_reader :form

      # @param env [Hash]
      # @raise [BadRequest] if the query or the form cannot be read
      def initialize(env)
        @env = env
        @query = values(env["QUERY_STRING"].to_s)
        @form = post? ? values(body) : {}
      end

      # @return [String] "" for the page where the application is mounted
      def path
        text(@env["PATH_INFO"]).delete_suffix("/")
      end

      # @return [String] where the application is mounted
      def base
        text(@env["SCRIPT_NAME"])
      end

      # @return [String] as it was sent, without the question mark
      def query_string
        text(@env["QUERY_STRING"])
      end

      # @return [String] the path and the query, as a link to this page
      def here
        query = query_string
        # A link that begins with two slashes leads to another host.
        "/#{path.sub(%r{\A[/\\]+}, "")}#{"?#{query}" unless query.empty?}"
      end

      # @return [Boolean]
      def read?
        %w[GET HEAD].include?(@env["REQUEST_METHOD"])
      end

      # @return [Boolean]
      def post?
        @env["REQUEST_METHOD"] == "POST"
      end

      # @return [Boolean]
      def head?
        @env["REQUEST_METHOD"] == "HEAD"
      end

      # @param name [Symbol]
      # @return [String, nil] the value of the form or of the query; nil also if it is empty
      def [](name)
        value = (@form[name.to_s] || @query[name.to_s])&.last
        value unless value.nil? || value.empty?
      end

      # @param name [Symbol]
      # @return [String]
      # @raise [BadRequest] if it is missing
      def fetch(name)
        self[name] || raise(BadRequest, Strings.text(:parameter_missing, name: name))
      end

      # @param name [Symbol]
      # @return [Array<String>] every value of the form
      def all(name)
        @form.fetch(name.to_s, [])
      end

      # @param name [String] in the form of CGI: "SEC_FETCH_SITE"
      # @return [String, nil]
      def header(name)
        @env["HTTP_#{name}"]
      end

      private

      # Web servers pass on the bytes that were sent, in whatever encoding.
      def text(value)
        value.to_s.dup.force_encoding(Encoding::UTF_8).scrub
      end

      def body
        form = @env["CONTENT_TYPE"].to_s.start_with?(FORM)
        raise BadRequest, Strings.text(:form_expected, type: FORM) unless form

        text = sent
        raise BadRequest, Strings.text(:form_too_large, bytes: MOST_BYTES) if text.bytesize > MOST_BYTES

        text
      end

      # What stands before the page may have read the form already, as Rack::MethodOverride does, which Rails has. Rack
      # keeps what it has read; since Rack 3 it does not rewind.
      def sent
        input = @env["rack.input"] or return ""
        kept = @env["rack.request.form_vars"] if input.equal?(@env["rack.request.form_input"])
        return kept if kept

        input.rewind if input.respond_to?(:rewind)
        input.read(MOST_BYTES + 1).to_s
      end

      def values(text)
        pairs = URI.decode_www_form(text.dup.force_encoding(Encoding::UTF_8))
        pairs.each_with_object({}) { |(name, value), all| (all[name] ||= []) << value }
      rescue ArgumentError
        raise BadRequest, Strings.text(:not_encoded)
      end
    end
  end
end
