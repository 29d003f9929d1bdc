# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A server serves methods to any program that puts JSON-RPC 2.0 requests on a Redis list.
    #
    # Any number of servers may serve one list; each request goes to one of them.
    #
    # @example
    #   server = RedisIPC::JSONRPC::Server.new("calculator", threads: 5)
    #   server.on("subtract") { |minuend:, subtrahend:| minuend - subtrahend }
    #   server.on_error { |exception| warn exception.message }
    #   server.connect
    class Server < Endpoint
      # Every object has the methods of these classes. Serving one of them (`send`, `instance_eval`) is hardly ever
      # intended.
      EVERY_OBJECT = [BasicObject, Kernel, Object].freeze
      private_constant :EVERY_OBJECT

      # Returns the delivery guarantee. With `:at_least_once` a request stays on a list of this server until it is
      # answered, and another server takes it over if this one dies; so it may run more than once. With `:at_most_once`
      # a request is gone from Redis once it is taken; it never runs twice, and is lost with its server.
      # @return [Symbol]
      attr_reader :guarantee
      # @return [Integer] how many methods run at the same time
      attr_reader :threads

      # Makes a server that is not connected yet. Times are in seconds, sizes in bytes.
      # @param queue [String, Symbol] the name of the list that requests come on
      # @param options [Hash] `redis_options: {}` (as for {Stream#connect}), `guarantee: :at_least_once`, `threads: 3`,
      #   `lease: 2` (after which a dead server's requests are taken over), `max_deliveries: 5`, `answer_expiry: 60`,
      #   `max_size: 16 MiB` (of a request), `max_answer_size: 16 MiB`, `max_batch: 1000`, `logger: nil`
      # @raise [ConfigurationError] if an option is unknown or of the wrong type
      # @raise [ArgumentError] if the queue's name is blank or neither a String nor a Symbol
      def initialize(queue, **options)
        super(queue, options)
        settings = Native::ListServer.check_options(@options)
        @guarantee = settings.guarantee.to_sym
        @threads = settings.threads
        @max_size = settings.max_size
        @procedures = Procedures.new(self.queue, max_batch: settings.max_batch,
                                                 max_answer_size: settings.max_answer_size, &method(:report))
        @around_method = Middleware.new
        @handler_pipeline = HandlerPipeline.new(self.queue, @around_method)
      end

      # Serves the block as a method. Its parameters may be passed by position or by name, however the block declares
      # them. The block runs in one of the server's threads, and keeps its own `self`. What it returns is the result;
      # `next` ends it early.
      # @param name [String, Symbol] the method's name
      # @return [self]
      # @raise [ArgumentError] without a block, or if the name is blank or begins with "rpc." (kept for JSON-RPC itself)
      def on(name, &block)
        raise ArgumentError, "on needs a block" unless block

        @procedures.add(check_method_name(name), block)
        self
      end

      # Serves public methods of an object: the listed ones, and no other.
      # @param object [Object]
      # @param only [Array<String, Symbol>] the names of the methods
      # @param prefix [String] the beginning of the names for callers
      # @return [self]
      # @raise [ArgumentError] if the object has no such public method of its own class
      # @example
      #   server.expose(Calculator.new, only: %w[add multiply], prefix: "calc.") # calc.add, calc.multiply
      def expose(object, only:, prefix: "")
        only.each do |name|
          method = public_method_of(object, name)
          @procedures.add(check_method_name("#{prefix}#{name}"), method)
        end
        self
      end

      # Adds middleware that surrounds this server's methods, inside of {JSONRPC.around_method}.
      # @param (see JSONRPC.around_method)
      # @yieldparam (see JSONRPC.around_method)
      # @return [self]
      def around_method(link = nil, &block)
        @around_method.add(link, &block)
        self
      end

      # Turns exceptions of a class into an error for the caller. Without it the caller is told "Internal error".
      # @param exception_class [Class] subclasses are included; the most specific class counts
      # @param code [Integer] the error's code
      # @param message [String, nil] the error's message; nil means the exception's own, which callers then see
      # @yieldparam exception [Exception] what the method raised
      # @yieldreturn [Object] the error's `data`; without a block there is none
      # @return [self]
      # @raise [ArgumentError] if the code is no Integer
      # @example
      #   server.map_error(KeyError, code: 404) { |exception| { key: exception.key } }
      def map_error(exception_class, code:, message: nil, &data)
        raise ArgumentError, "the code must be an Integer, got #{code.inspect}" unless code.is_a?(Integer)

        @procedures.map(exception_class) do |exception|
          Error.new(message || ErrorText.message_of(exception), code: code, data: data&.call(exception))
        end
        self
      end

      # Returns whether the servers of the queue, or this one, were told to take no more requests (see
      # `RedisIPC::Admin#pause`).
      # @return [Boolean]
      # @raise [NotConnectedError] if it was never connected in this process
      def paused?
        stats[:paused] == 1
      end

      # Also answers JSON-RPC in the content of a stream's requests. A notification is fulfilled with nil.
      # @param stream [Stream] a stream that is not connected yet; its `on_request` is set
      # @return [self]
      def attach(stream)
        server = self
        stream.on_request { |entry| entry.fulfill(server.answer(entry.content)) }
        self
      end

      # Answers one request or batch that came by another transport.
      # @param message [Object] the request as parsed from JSON, with Symbols for keys
      # @return [Object, nil] the answer, with Symbols for keys; nil if there is nothing to answer
      def answer(message)
        text = @procedures.answer(message) do |request, encode, &run|
          @handler_pipeline.run_within(request, encode, &run)
        end
        text && Native.load(text)
      end

      private

      def start_session
        Session.new(queue, @callables, serves: true) { |logins| Native::ListServer.start(queue, @options, logins) }
      end

      def run_session(session)
        session.run(workers: threads, report: method(:report), reconnected: method(:reconnected),
                    overrun: method(:overrun)) do |request|
          serve(session.engine, request)
        end
      end

      def serve(engine, request)
        return refuse_size(engine, request) if request.size > @max_size

        envelope = Envelope.new(request)
        answer = answer_to(engine, request, envelope)
        finish(engine, request, envelope, answer)
      rescue RedisIPC::Error => e
        report(e)
      ensure
        # The thread was stopped, or this failed. No other thread has the request, so it is answered here.
        finish(engine, request, envelope, envelope && stopped(envelope)) unless request.answered?
      end

      def answer_to(engine, request, envelope)
        return @procedures.error(PARSE_ERROR) if envelope.malformed
        return if envelope.deadline && engine.expired?(envelope.deadline)
        return @procedures.refuse(envelope.message, given_up) if request.given_up?

        request.note_deadline(envelope.deadline) if envelope.deadline
        run(engine, envelope)
      end

      def overrun(native, frame, ran)
        native.note_frame(frame)
        envelope = Envelope.new(native)
        @handler_pipeline.overrun(envelope, frame, ran)
        ErrorReport.note("JSON-RPC #{queue}: a method still runs though the deadline of its request has passed, " \
                         "#{ran.round(1)} s after it began, at #{frame} (#{named(envelope.message)})", logger: @logger)
      end

      def named(message)
        return "a batch of #{message.size}" if message.is_a?(Array)

        "#{LogText.of(message[:method])}, request #{LogText.of(message[:id].inspect)}"
      end

      # Runs the methods of a message. The deadline of a batch may pass between two of them.
      def run(engine, envelope)
        delivery = Delivery.new(engine, envelope)
        expired = -> { engine.expired?(envelope.deadline) } if envelope.deadline && envelope.message.is_a?(Array)
        @procedures.answer(envelope.message, expired: expired) do |request, encode, &run|
          @handler_pipeline.run(request, encode, delivery, &run)
        end
      end

      def given_up
        Error.new("the request was given up on: its servers died", code: SERVER_ERROR)
      end

      def stopped(envelope)
        @procedures.refuse(envelope.message, Error.new("the method was stopped", code: INTERNAL_ERROR))
      end

      def finish(engine, request, envelope, answer)
        reply_to = envelope&.reply_to
        sent = engine.finish(request, answer && reply_to.to_s, answer, envelope&.deadline)
        report_astray(reply_to, envelope.malformed) unless sent
      rescue NotConnectedError
        # This is a fork, or the server was closed meanwhile. The server that has the request now answers it.
      end

      def report_astray(reply_to, malformed)
        if reply_to
          message = "an answer was dropped: #{reply_to.inspect} is not a reply list of this queue"
          report(MalformedEntryError.new(message, stream: queue))
        elsif malformed
          report(MalformedEntryError.new("a request cannot be read, nor answered: #{malformed}", stream: queue))
        end
      end

      def refuse_size(engine, request)
        id, reply_to = request.skim(0)
        data = "the request has #{request.size} bytes, the limit is #{@max_size} (max_size)"
        answer = @procedures.error(INVALID_REQUEST, data: data, id: id)
        return if engine.finish(request, reply_to.to_s, answer, nil)

        report(MalformedEntryError.new("a request was refused: #{data}", stream: queue))
      end

      def check_method_name(name)
        name = name.to_s
        raise ArgumentError, "the method's name cannot be blank" if name.strip.empty?
        raise ArgumentError, "#{name}: names that begin with rpc. are JSON-RPC's own" if name.start_with?("rpc.")

        name
      end

      def public_method_of(object, name)
        method = object.public_method(name)
        return method unless EVERY_OBJECT.include?(method.owner)

        raise ArgumentError, "#{name} is a method of every object; serve it with a block (on) if you mean it"
      rescue NameError
        raise ArgumentError, "#{object.class} has no public method #{name}"
      end
    end
  end
end
