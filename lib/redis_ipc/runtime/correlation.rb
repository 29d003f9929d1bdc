# frozen_string_literal: true

module RedisIPC
  # The name of the work that a request is part of, which goes with it: a framework says it, Rails its request_id.
  # @api private
  module Correlation
    # Printable ASCII; Rails's have at most 255 characters.
    TEXT = /\A[!-~]{1,255}\z/
    private_constant :TEXT

    class << self
      # @param given [Object, nil] the name that middleware has set
      # @return [String, nil] the name of a call: that one, or the name of what the calling thread is doing
      def of_call(given)
        checked(given || RedisIPC.framework.correlation_id)
      end

      # @param value [Object] what may be a name
      # @return [String, nil] what cannot be one is left out
      def checked(value)
        value if value.is_a?(String) && value.ascii_only? && TEXT.match?(value)
      end
    end
  end
  private_constant :Correlation
end
