# frozen_string_literal: true

module RedisIPC
  class Admin
    # Where a request is.
    class Trace < Value
      # @return [String] the id that was looked for
      attr_reader :id
      # @return [Array<Request>] its entries in inboxes; several if it was sent again
      attr_reader :requests
      # @return [Instance, nil] who has it
      attr_reader :holder
      # @return [Running, nil] what the holder says about it
      attr_reader :running
      # @return [Array<DeadLetter>]
      attr_reader :dead_letters
      # @return [Array<Incident>] what instances say about it
      attr_reader :incidents

      # @return [Boolean] whether there is any trace of it
      def found?
        [requests, dead_letters, incidents].any?(&:any?) || !running.nil?
      end
    end
  end
end
