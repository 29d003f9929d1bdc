# frozen_string_literal: true

module RedisIPC
  class Admin
    # Something that went wrong in an instance.
    class Incident < Value
      # @return [Time, nil] when, on Redis's clock
      attr_reader :at
      # @return [Symbol] such as `:take_over`, `:answer_lost`, `:reconnected`, `:loss`, `:overrun`, `:refused` and
      #   `:dead_letter`
      attr_reader :kind
      # @return [String]
      attr_reader :text
    end
  end
end
