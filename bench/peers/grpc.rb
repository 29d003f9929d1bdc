# frozen_string_literal: true

require "grpc"
require "google/protobuf"

module Bench
  # bench/player.rb says which methods a peer needs.
  module Peers
    Google::Protobuf::DescriptorPool.generated_pool.build do
      add_message("bench.Content") { optional :text, :string, 1 }
    end
    Content = Google::Protobuf::DescriptorPool.generated_pool.lookup("bench.Content").msgclass

    # The code that protoc would generate for one unary call.
    module Echo
      # The interface.
      class Service
        include GRPC::GenericService

        self.marshal_class_method = :encode
        self.unmarshal_class_method = :decode
        self.service_name = "bench.Echo"
        rpc :Call, Content, Content
      end

      Stub = Service.rpc_stub_class
    end

    # gRPC with protobuf messages over TCP without TLS.
    class Grpc
      # Threads of the server. It refuses further calls, and a thread is free only a while after its answer.
      THREADS = 128
      LIMITS = {
        "grpc.max_receive_message_length" => 64 << 20, "grpc.max_send_message_length" => 64 << 20
      }.freeze

      # Answers.
      class Server < Echo::Service
        def initialize(handler)
          super()
          @handler = handler
        end

        def call(request, _call)
          Content.new(text: @handler.call(request.text))
        end
      end

      def initialize(settings)
        @address = settings[:address]
      end

      def answer(&handler)
        @server = GRPC::RpcServer.new(pool_size: THREADS, server_args: LIMITS)
        port = @server.add_http2_port("127.0.0.1:0", :this_port_is_insecure)
        @server.handle(Server.new(handler))
        Thread.new { @server.run }
        @server.wait_till_running
        "127.0.0.1:#{port}"
      end

      def connect
        @stub = Echo::Stub.new(@address, :this_channel_is_insecure, channel_args: LIMITS)
        call("hello")
      end

      def call(content)
        @stub.call(Content.new(text: content)).text
      end

      def close
        @server&.stop
      end
    end
  end
end
