# frozen_string_literal: true

require_relative "json_rpc"

module Bench
  module Peers
    # The same at most once, which is what the plain peers promise.
    class JsonRpcOnce < JsonRpc
      private

      def guarantee
        :at_most_once
      end
    end
  end
end
