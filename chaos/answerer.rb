# frozen_string_literal: true

require_relative "program"

module Chaos
  # An answering process: says what it was asked, and by whom it is answered. What it answers with is its subclasses'
  # business.
  class Answerer < Program
    def finish
      super(timeout: 2)
    end

    private

    # For subclasses: `open` has it called.
    def answer(question)
      @journal.ran(question[:id])
      Process.kill(:KILL, Process.pid) if question[:poison]
      sleep @settings[:work]
      { id: question[:id], echo: question[:nonce], pid: Process.pid, filler: "x" * question.fetch(:answer_size, 0) }
    end
  end
end
