# frozen_string_literal: true

module RedisIPC
  class Admin
    # What most of the newest dead letters of a group have in common.
    # @api private
    class LetterSummary
      # What is said where no handler is at fault: the sender sends what no process can read.
      OF_SENDER = /not JSON|not a request of this protocol|content is refused/
      # Letters of a reason that are told.
      LENGTH = 200
      private_constant :OF_SENDER, :LENGTH

      # Reasons that differ in numbers only, such as positions, are the same.
      # @param letters [Array<DeadLetter>] the newest; at least one
      def initialize(letters)
        @size = letters.size
        kind = ->(letter) { [letter.from, letter.reason&.scrub&.gsub(/\d+/, "0")] }
        @same = letters.group_by(&kind).values.max_by(&:size)
      end

      # @return [String] such as "; of the newest 50, 48 are from menu: ..."
      def text
        from = " from #{sender}" if sender
        "; #{@same.size} of the newest #{@size}#{from}: #{reason}"
      end

      # @return [String, nil] what to do first
      def advice
        "stop or mend #{sender || "what sends this"}, which sends what nobody can read" if reason.match?(OF_SENDER)
      end

      private

      def sender
        @same.first.from
      end

      def reason
        text = @same.first.reason&.scrub || "no reason is known"
        text.size > LENGTH ? "#{text[0, LENGTH]}..." : text
      end
    end
    private_constant :LetterSummary
  end
end
