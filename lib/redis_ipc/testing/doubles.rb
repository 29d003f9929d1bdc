# frozen_string_literal: true

module RedisIPC
  # Makes streams, channels and JSON-RPC work without Redis.
  module Testing
    # Replaces what streams, servers and clients have in common while tests are faked. It is prepended here, so that it
    # costs nothing where this file is not loaded.
    # @api private
    module InLifecycle
      def disconnect(timeout: 5)
        return super unless Testing.enabled?

        Monotonic.finite(timeout)
        Receivers.leave(self)
        self
      end

      def connected?
        Testing.enabled? ? Receivers.joined?(self) : super
      end

      def open?
        Testing.enabled? ? Receivers.joined?(self) : super
      end
    end

    # Replaces the methods of a stream.
    # @api private
    module InStream
      # Stands in for a {RedisIPC::Session}.
      Session = Struct.new(:engine) do
        def ask(...)
          engine.ask(...)
        end

        def stats
          engine.stats.merge(handlers: 0, busy_handlers: 0)
        end

        def wait(_call, _timeout)
          true
        end

        def when_settled(_call)
          yield
        end

        # Without one, the logger of the process is used.
        def logger; end

        def tell(exception)
          engine.report(exception)
        end
      end

      def connect(**options)
        return super unless Testing.enabled?

        Settings.new(options)
        Receivers.join(self)
        self
      end

      def handler?
        !@on_request.nil?
      end

      def instance_id
        Testing.enabled? ? Engine::INSTANCE : super
      end

      # Runs the handler in this thread.
      # @param entry [Entry]
      def serve_inline(entry)
        serve(entry)
      end

      # Tells `on_error` of an error, in this thread.
      # @param exception [Exception]
      def report_inline(exception)
        report(exception)
      end

      private

      # Raises a test's failure to the test, though over Redis it would be an answer.
      def report(exception, entry = nil)
        raise exception if Testing.mode == :inline && Testing.failure?(exception)

        super
      end

      def session
        Testing.enabled? ? Session.new(Engine.new(self)) : super
      end
    end

    # Replaces the methods of a JSON-RPC server or client. In inline mode a server answers once it is connected.
    # @api private
    module InEndpoint
      def connect
        return super unless Testing.enabled?

        Receivers.join(self)
        self
      end

      private

      def session
        Testing.enabled? ? ListEngine.new(queue) : super
      end
    end

    # Added to JSON-RPC servers.
    # @api private
    module InServer
      # Runs the method that is asked for in this thread.
      # @param engine [ListEngine]
      # @param request [ListEngine::Request]
      def serve_inline(engine, request)
        serve(engine, request)
      end
    end

    # Replaces the methods of a channel while tests are faked: it need not be connected.
    # @api private
    module InChannel
      def connect(serve: true, **options)
        return super unless Testing.enabled?

        Testing.stream_of(self).connect(**options)
        self
      end

      def disconnect(timeout: 5)
        return super unless Testing.enabled?

        Testing.stream_of(self).disconnect
        self
      end

      def connected?
        Testing.enabled? ? Testing.stream_of(self).connected? : super
      end

      private

      def inherited(channel)
        super
        Receivers.keep(channel)
      end
    end

    # Replaces the stream that a channel asks by.
    # @api private
    module InChannelState
      def connection
        Testing.enabled? ? Testing.stream_of(channel_class) : super
      end
    end

    Stream.prepend(InLifecycle, InStream)
    # YARD fails on `JSONRPC::Endpoint.prepend`, because it does not know the class here.
    [JSONRPC::Endpoint].each { |endpoint| endpoint.prepend(InLifecycle, InEndpoint) }
    [JSONRPC::Server].each { |server| server.prepend(InServer) }
    Channel.singleton_class.prepend(InChannel)
    ChannelState.prepend(InChannelState)
    Receivers.channels.each { |channel| Receivers.keep(channel) }
  end
end
