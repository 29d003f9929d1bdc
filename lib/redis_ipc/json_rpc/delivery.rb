# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # The way of an answer to its caller: the reply list and the deadline.
    # @api private
    class Delivery
      # @return [String, nil] the list that the answer goes to
      attr_reader :reply_to

      # @param engine [Native::ListServer]
      # @param envelope [Envelope] the envelope of the request
      def initialize(engine, envelope)
        @engine = engine
        @reply_to = envelope.reply_to
        @deadline = envelope.deadline
      end

      # Returns why an answer that is given now would not reach its caller.
      # @return [String, nil] `"dropped"` if there is no valid reply list, `"late"` if the deadline has passed, else nil
      # @raise [NotConnectedError] in another process than the server's
      def obstacle
        return "dropped" unless @engine.reply?(@reply_to.to_s)

        "late" if @deadline && @engine.past?(@deadline)
      end
    end
  end
end
