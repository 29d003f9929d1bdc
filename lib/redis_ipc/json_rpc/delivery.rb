# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # The way of an answer to its caller.
    # @api private
    class Delivery
      # @return [String, nil] the list that the answer goes to
      attr_reader :reply_to

      # @param engine [Native::ListServer]
      # @param envelope [Envelope] the request's
      def initialize(engine, envelope)
        @engine = engine
        @reply_to = envelope.reply_to
        @deadline = envelope.deadline
      end

      # What keeps an answer that is given now from its caller.
      # @return [String, nil] `"dropped"`: it can go nowhere; `"late"`: the deadline has passed; nil: nothing does
      # @raise [NotConnectedError] in another process than the server's
      def obstacle
        return "dropped" unless @engine.reply?(@reply_to.to_s)

        "late" if @deadline && @engine.past?(@deadline)
      end
    end
  end
end
