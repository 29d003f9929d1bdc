# frozen_string_literal: true

require "socket"

module RedisIPC
  class Probes
    # Answers HTTP requests in threads of this process. It knows only as much of HTTP as probes need: it reads the first
    # line and the header, answers, and closes the connection.
    class Listener
      include Undumpable

      # How many connections are answered at the same time; others are closed.
      MOST = 16
      # How long a request may take to come, and an answer to be read, in seconds.
      PATIENCE = 5
      # The most bytes of a request.
      LIMIT = 16_384
      # The pause after the system could not accept a connection, in seconds.
      PAUSE = 0.1
      REASONS = { 200 => "OK", 400 => "Bad Request", 404 => "Not Found", 405 => "Method Not Allowed",
                  500 => "Internal Server Error", 503 => "Service Unavailable" }.freeze
      private_constant :MOST, :PATIENCE, :LIMIT, :PAUSE, :REASONS

      @open = []

      class << self
        # @return [Array<Listener>] those of this process
        # @api private
        attr_reader :open

        # Closes a forked child's copies of the sockets, so that the port is free once its parent has ended.
        # @api private
        def after_fork
          @open.each(&:abandon)
          @open = []
        end
      end

      ProcessHooks.on_fork { after_fork }

      # @return [String] the address that it listens on
      attr_reader :host
      # @return [Integer] the port that it listens on
      attr_reader :port

      # @api private
      def initialize(app, host, port)
        @app = app
        @host = host
        @server = TCPServer.new(host, port)
        @port = @server.local_address.ip_port
        @places = Thread::Queue.new([true] * MOST)
        @thread = Thread.new { accept }
        ThreadPool.name_thread(@thread, "probes #{@port}")
        Listener.open << self
      end

      # Ends it, and frees the port.
      # @return [nil]
      def close
        Listener.open.delete(self)
        abandon
        @thread.join
        nil
      end

      # @api private
      def abandon
        @server.close
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{host}:#{port}>"
      end

      private

      def accept
        loop { serve(@server.accept) }
      rescue IOError, SystemCallError, ThreadError
        return if @server.closed?

        sleep(PAUSE)
        retry
      end

      # A client that sends nothing keeps only its own thread.
      def serve(socket)
        return socket.close if @places.empty?

        @places.pop
        Thread.new { answer(socket) }.report_on_exception = false
      rescue ThreadError
        socket.close
        @places << true
        raise
      end

      def answer(socket)
        deadline = Monotonic.now + PATIENCE
        head = read(socket, deadline)
        status, headers, body = head ? respond(head) : [400, {}, []]
        lines = ["HTTP/1.1 #{status} #{REASONS[status]}", *headers.map { |name, value| "#{name}: #{value}" },
                 "connection: close", "", body.join]
        write(socket, deadline, lines.join("\r\n"))
      rescue IOError, SystemCallError
        # The client is gone.
      ensure
        socket.close
        @places << true
      end

      # @return [String, nil] the first line and the header; nil if they do not come, or are too long
      def read(socket, deadline)
        head = +""
        until head.include?("\r\n\r\n")
          return if head.bytesize > LIMIT || !socket.wait_readable([deadline - Monotonic.now, 0].max)

          part = socket.read_nonblock(LIMIT, exception: false) or return
          head << part if part.is_a?(String)
        end
        head
      end

      def write(socket, deadline, text)
        until text.empty?
          return unless socket.wait_writable([deadline - Monotonic.now, 0].max)

          written = socket.write_nonblock(text, exception: false)
          text = text.byteslice(written..) if written.is_a?(Integer)
        end
      end

      def respond(head)
        method, target, = head.lines.first.split
        return [400, {}, []] if target.nil?

        accept = head[/^accept:\s*(.*?)\r$/i, 1]
        @app.call({ "REQUEST_METHOD" => method, "PATH_INFO" => target[/\A[^?#]*/], "HTTP_ACCEPT" => accept })
      rescue StandardError => e
        ErrorReport.warning("redis_ipc: the probes raised #{LogText.error(e)}")
        [500, {}, []]
      end
    end
  end
end
