# frozen_string_literal: true

require "drb"

module Bench
  module Peers
    # Distributed Ruby: a method call on an object of the other process, marshalled.
    class DrbTcp
      # The object whose method is called.
      class Front
        def initialize(&handler)
          @handler = handler
        end

        def call(content)
          @handler.call(content)
        end
      end

      def initialize(settings)
        @address = settings[:address]
      end

      def answer(&handler)
        DRb.start_service(listen_address, Front.new(&handler))
        DRb.uri
      end

      def connect
        @front = DRbObject.new_with_uri(@address)
        @front.call("hello")
      end

      def call(content)
        @front.call(content)
      end

      def close
        DRb.stop_service
      end

      private

      def listen_address
        "druby://127.0.0.1:0"
      end
    end
  end
end
