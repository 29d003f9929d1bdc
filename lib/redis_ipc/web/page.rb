# frozen_string_literal: true

module RedisIPC
  class Web
    # One page. It reads everything when it is made, so that an error comes before the first line is written. Its
    # `to_h` is what the page's path under /api answers.
    # @api private
    class Page
      # @param context [Context]
      def initialize(context)
        @context = context
        read
      end

      # @return [Symbol] the name of its file in views/
      def template
        self.class::TEMPLATE
      end

      # @return [Symbol] the entry of the navigation that it belongs to
      def section
        self.class::SECTION
      end

      # @return [String]
      def title
        Strings.text(section)
      end

      # @return [Integer]
      def status
        200
      end

      # @return [Boolean] whether the script asks for it again and again
      def refresh?
        true
      end

      # @return [String, nil] its path under /api
      def api
        path = request.path.empty? ? "/overview" : request.path
        query = request.query_string
        "/api#{path}.json#{"?#{query}" unless query.empty?}"
      end

      # @return [String, nil] what the form before this page did
      def notice
        Strings.notice(request[:notice], request[:count])
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

      def read; end

      # @raise [NotFound]
      def found(object, name)
        object || raise(NotFound, Strings.text(:not_found, name: name))
      end

      def hashes(objects)
        objects.map(&:to_h)
      end
    end
  end
end
