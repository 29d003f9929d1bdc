# frozen_string_literal: true

module RedisIPC
  class Admin
    # Events that a consumer may have missed.
    class Loss < Value
      # @return [Time, nil] when it was noticed
      attr_reader :at
      # @return [Symbol] as {Events::Loss#cause}
      attr_reader :cause
      # @return [Integer, nil] at least so many events
      attr_reader :at_least
      # @return [Integer, nil] at most so many events
      attr_reader :at_most
      # @return [Time, nil] the time from which they may be missing
      attr_reader :since
      # @return [Time, nil] the time up to which they may be missing
      attr_reader :until
    end
  end
end
