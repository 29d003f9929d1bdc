# frozen_string_literal: true

require "optparse"
require_relative "version"
require_relative "cli/work"
require_relative "cli/logs"

module RedisIPC
  # The command `redis_ipc`. It loads the rest of the gem when a verb needs it: in a Rails application that is after
  # Rails, so that the railtie is loaded too.
  # @api private
  module CLI
    USAGE = <<~TEXT
      Usage: redis_ipc VERB [options]

          work [FILES]    run the channels and consumers of an application, until told to end
          events doctor   say what consumers of PostgreSQL's log lack there
          events slots    list the replication slots that they use, and what these keep

          -h, --help      show this, or the options of a verb: redis_ipc work --help
          -v, --version   show the version
    TEXT
    # The exit status of a command that was called in the wrong way (EX_USAGE of sysexits.h).
    WRONG_USAGE = 64
    VERBS = { "work" => Work, "events" => Logs }.freeze
    private_constant :USAGE, :VERBS

    class << self
      # @param arguments [Array<String>] the command line
      # @return [Integer] the exit status
      def start(arguments)
        verb, *rest = arguments
        case verb
        when "-h", "--help", "help" then say(USAGE)
        when "-v", "--version" then say("redis_ipc #{VERSION}\n")
        when *VERBS.keys then VERBS.fetch(verb).start(rest)
        else refuse(verb ? "unknown verb #{verb.inspect}" : "name a verb", USAGE)
        end
      end

      # @param what [String]
      # @param usage [String]
      # @return [Integer] the exit status
      def refuse(what, usage)
        $stderr.write("redis_ipc: #{what}\n\n#{usage}")
        WRONG_USAGE
      end

      # @param text [String]
      # @return [Integer] the exit status
      def say(text)
        $stdout.write(text)
        0
      end
    end
  end
end
