# frozen_string_literal: true

require "redis_ipc"
require_relative "journal"
require_relative "watch"

module Chaos
  # A process of the load. It connects, makes or answers calls until it is told to end, and keeps a journal.
  #
  # A subclass defines `open`, which connects and returns an object with `connected?`, `stats` and `disconnect`.
  class Program
    # Runs until it is told to end.
    def self.run
      program = new(JSON.parse(ARGV.fetch(0), symbolize_names: true))
      program.start
      $stdout.puts("ready")
      $stdout.flush
      $stdin.gets
      program.finish
    end

    def initialize(settings)
      @settings = settings
      @journal = Journal.new(settings[:journal])
    end

    def start
      @end = open
      @watcher = Chaos.watch(@end, @journal)
    end

    # Returns the options of the connection. A password that is rotated is read from its file at each login.
    def redis_options
      options = @settings[:redis_options]
      file = options[:password_file]
      return options unless file

      options.except(:password_file).merge(password: -> { File.read(file) })
    end

    def finish(timeout:)
      @watcher.kill.join
      @journal.stats(@end.stats)
      @end.disconnect(timeout: timeout)
    end
  end
end
