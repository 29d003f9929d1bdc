# frozen_string_literal: true

require_relative "program"

module Chaos
  # An answering process. It notes each request that it gets. A subclass opens the stream or the server.
  class Answerer < Program
    def finish
      super(timeout: 2)
    end

    private

    # A subclass's `open` has this called for each request.
    def answer(question)
      @journal.ran(question[:id])
      Process.kill(:KILL, Process.pid) if question[:poison]
      sleep @settings[:work]
      { id: question[:id], echo: question[:nonce], pid: Process.pid, filler: "x" * question.fetch(:answer_size, 0) }
    end
  end
end
