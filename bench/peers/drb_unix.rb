# frozen_string_literal: true

require "drb/unix"
require_relative "drb_tcp"

module Bench
  module Peers
    # DRb over a unix socket.
    class DrbUnix < DrbTcp
      private

      # DRb picks a path in the folder for temporary files.
      def listen_address
        "drbunix:"
      end
    end
  end
end
