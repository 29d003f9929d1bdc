# frozen_string_literal: true

module RedisIPC
  # What makes streams, channels and JSON-RPC do without Redis.
  module Testing
    # What all that connects does while tests are faked. Prepended here, so that it costs nothing where this file is not
    # loaded.
    # @api private
    module InLifecycle
      def disconnect(timeout: 5)
        return super unless Testing.enabled?

        Testing.leave(self)
        self
      end

      def connected?
        Testing.enabled? ? Testing.joined?(self) : super
      end

      def open?
        Testing.enabled? ? Testing.joined?(self) : super
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
      end

      # @return [Stream, nil] the one that counts for this one
      attr_accessor :counted_by

      # What RSpec and Minitest raise to end a test.
      FAILURES = %w[RSpec::Expectations::ExpectationNotMetError RSpec::Mocks::MockExpectationError
                    Minitest::Assertion].freeze

      def connect(**options)
        return super unless Testing.enabled?

        Settings.new(options)
        Testing.join(self)
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

        Testing.join(self)
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

      def connection
        Testing.enabled? ? Testing.stream_of(self) : super
      end
    end

    # Finds the channel that answers for a group.
    # @api private
    module Receivers
      # A class with the name of another that is no longer there (reloaded, or of an earlier test) does not count; of
      # several, the one defined last does.
      # @return [Stream, nil]
      def self.channel(stream, group)
        RedisIPC.channels&.load_all
        found = all(Channel).find { |one| one.stream.to_s == stream && one.channel.to_s == group && present?(one) }
        found && stream_of(found)
      end

      def self.stream_of(channel)
        stream = channel.send(:build_stream, Struct.new(:channel).new(channel))
        stream.counted_by = Testing.stream_of(channel)
        stream
      end
      private_class_method :stream_of

      def self.all(channel)
        channel.subclasses.flat_map { |one| [one, *all(one)] }
      end

      # It answers no more.
      def self.retire(channel)
        channel.instance_variable_set(:@retired_from_tests, true)
      end

      def self.present?(channel)
        return !channel.instance_variable_get(:@retired_from_tests) if channel.name.nil?

        Object.const_defined?(channel.name) && Object.const_get(channel.name).equal?(channel)
      end
      private_class_method :present?
    end

    Stream.prepend(InLifecycle, InStream)
    # YARD does not know the class here, and trips over `JSONRPC::Endpoint.prepend`.
    [JSONRPC::Endpoint].each { |endpoint| endpoint.prepend(InLifecycle, InEndpoint) }
    Channel.singleton_class.prepend(InChannel)
  end
end
