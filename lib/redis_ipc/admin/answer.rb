# frozen_string_literal: true

module RedisIPC
  class Admin
    # How a test request ended.
    class Answer < Value
      # @return [Symbol] `:fulfilled`, `:rejected`, `:unclaimed`, `:unknown` or `:not_sent`
      attr_reader :outcome
      # @return [Object, nil] the answer
      attr_reader :value
      # @return [String, nil] why there is none
      attr_reader :reason
      # @return [Float] how long it took
      attr_reader :seconds

      # @return [Boolean]
      def fulfilled?
        outcome == :fulfilled
      end
    end
  end
end
