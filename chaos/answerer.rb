# frozen_string_literal: true

require "redis_ipc"
require_relative "journal"
require_relative "watch"

module Chaos
  # An answering process: says what it was asked, and by whom it is answered. What it answers with is its subclasses'
  # business.
  class Answerer
    # Runs until it is told to end.
    def self.run
      answerer = new(JSON.parse(ARGV.fetch(0), symbolize_names: true))
      answerer.start
      $stdout.puts("ready")
      $stdout.flush
      $stdin.gets
      answerer.finish
    end

    def initialize(settings)
      @settings = settings
      @journal = Journal.new(settings[:journal])
    end

    def start
      @end = open
      @watcher = Chaos.watch(@end, @journal)
    end

    def finish
      @watcher.kill.join
      @journal.stats(@end.stats)
      @end.disconnect(timeout: 2)
    end

    private

    # For subclasses: `open` connects, and has `answer` called.

    def answer(question)
      @journal.ran(question[:id])
      Process.kill(:KILL, Process.pid) if question[:poison]
      sleep @settings[:work]
      { id: question[:id], echo: question[:nonce], pid: Process.pid }
    end
  end
end
