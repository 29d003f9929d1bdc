# frozen_string_literal: true

module RedisIPC
  module CLI
    # An error that ends a verb, as the user is told of it.
    # @api private
    class Failure
      # @param error [StandardError]
      # @param verb [Class]
      # @return [Boolean] whether the message says all; otherwise there is a defect, or the user's code has raised it
      def self.known?(error, verb)
        return false unless defined?(RedisIPC::Error)

        error.is_a?(RedisIPC::Error) || (error.is_a?(ArgumentError) && !verb.application?)
      end

      # @param error [StandardError]
      # @param verb [Class] whose `run` raised it
      def initialize(error, verb)
        @error = error
        @status = ExitStatus.of(error, verb)
      end

      # @param terminal [Terminal]
      # @return [Integer] the exit status
      def tell(terminal)
        terminal.progress
        terminal.json(to_h) if terminal.json?
        terminal.warn("redis_ipc: #{text}")
        @status
      end

      # @return [Hash]
      def to_h
        { outcome: outcome, status: @status, error: { class: @error.class.name, message: text } }.compact
      end

      private

      def text
        LogText.line(@error.message)
      end

      def outcome
        @error.outcome if @error.respond_to?(:outcome)
      end
    end
  end
end
