# frozen_string_literal: true

module RedisIPC
  # Names the work that a request is part of. The name goes with the request; a framework sets it (Rails: its
  # request_id).
  # @api private
  module Correlation
    # Printable ASCII. A request_id of Rails has at most 255 characters.
    TEXT = /\A[!-~]{1,255}\z/
    private_constant :TEXT

    class << self
      # @param given [Object, nil] the name that middleware has set
      # @return [String, nil] the name of a call: the given one, else the name of the calling thread's work
      def of_call(given)
        checked(given || RedisIPC.framework.correlation_id)
      end

      # @param value [Object] a possible name
      # @return [String, nil] nil for a value that cannot be a name
      def checked(value)
        value if value.is_a?(String) && value.ascii_only? && TEXT.match?(value)
      end
    end
  end
  private_constant :Correlation
end
