# frozen_string_literal: true

module RedisIPC
  # Makes streams, channels and JSON-RPC work without Redis.
  module Testing
    # What all that connects does while tests are faked. Prepended here, so that it costs nothing where this file is not
    # loaded.
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

    # What a stream does besides.
    # @api private
    module InStream
      # As a {RedisIPC::Session}.
      Session = Struct.new(:engine) do
        def ask(...)
          engine.ask(...)
        end

        def wait(_call, _timeout)
          true
        end

        def when_settled(_call)
          yield
        end

        # That of the framework counts.
        def logger; end

        def tell(exception)
          engine.report(exception)
        end
      end

      # @return [Stream, nil] the one that counts for this one
      attr_accessor :counted_by

      # What RSpec and Minitest raise to end a test.
      FAILURES = %w[RSpec::Expectations::ExpectationNotMetError RSpec::Mocks::MockExpectationError
                    Minitest::Assertion].freeze

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

      private

      # What fails a test is no answer, though over Redis it would be.
      def report(exception, entry = nil)
        raise exception if Testing.mode == :inline && (FAILURES & exception.class.ancestors.map(&:name)).any?

        super
      end

      def session
        Testing.enabled? ? Session.new(Engine.new(self)) : super
      end
    end

    # What a JSON-RPC server or client does besides; in inline mode a server answers once it is connected.
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

    # What a channel does while tests are faked: it need not be connected.
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

    # What a channel asks by.
    # @api private
    module InChannelState
      def connection
        Testing.enabled? ? Testing.stream_of(channel_class) : super
      end
    end

    Stream.prepend(InLifecycle, InStream)
    # YARD does not know the class here, and trips over `JSONRPC::Endpoint.prepend`.
    [JSONRPC::Endpoint].each { |endpoint| endpoint.prepend(InLifecycle, InEndpoint) }
    Channel.singleton_class.prepend(InChannel)
    ChannelState.prepend(InChannelState)
    Receivers.channels.each { |channel| Receivers.keep(channel) }
  end
end
