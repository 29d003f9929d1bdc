# frozen_string_literal: true

require "stringio"

module RedisIPC
  class Web
    # WEBrick, without the rack gem's handler for it.
    # @api private
    module WebrickServer
      # @return [Boolean]
      def self.available?
        require "webrick"
        true
      rescue LoadError
        false
      end

      # @param app [#call]
      # @param host [String]
      # @param port [Integer]
      # @yieldparam port [Integer] the one that it listens on
      def self.run(app, host, port)
        require "webrick"
        server = ::WEBrick::HTTPServer.new(BindAddress: host, Port: port, AccessLog: [],
                                           Logger: ::WEBrick::Log.new($stderr, ::WEBrick::BasicLog::WARN))
        server.mount_proc("/") { |request, response| serve(app, request, response) }
        yield server.listeners.first.addr[1]
        server.start
      ensure
        server&.shutdown
      end

      # @param app [#call]
      # @param request [WEBrick::HTTPRequest]
      # @param response [WEBrick::HTTPResponse]
      def self.serve(app, request, response)
        # As text, this is what CGI and Rack call them: REQUEST_METHOD, PATH_INFO, HTTP_HOST.
        env = request.meta_vars.compact.merge("SCRIPT_NAME" => "", "PATH_INFO" => request.path,
                                              "QUERY_STRING" => request.query_string.to_s,
                                              "rack.input" => StringIO.new(request.body.to_s))
        status, headers, body = app.call(env)
        response.status = status
        headers.each { |name, value| response[name] = value }
        response.body = body.join
      end
      private_class_method :serve
    end
  end
end
