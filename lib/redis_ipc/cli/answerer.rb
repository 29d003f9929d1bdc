# frozen_string_literal: true

require_relative "program"
require_relative "signals"

module RedisIPC
  module CLI
    # What verbs that answer have in common: by an echo or by a program, until they are interrupted or have answered
    # enough.
    # @api private
    module Answerer
      # Declares the options.
      def self.included(verb)
        super
        verb.class_eval do
          option :echo, "--echo", "answer each request with its content"
          option :exec, "-x", "--exec COMMAND", "answer each request with what this shell command prints"
          option :threads, "--threads NUMBER", "requests that are answered at the same time (3)",
                 type: Integer, default: 3, least: 1
          option :count, "-n", "--count NUMBER", "end after so many requests", type: Integer, least: 1
          option :content, "-c", "--content", "print the contents too"
          option :quiet, "-q", "--quiet", "print no line for each request"
        end
      end

      # @return [Integer, nil] the exit status
      def run
        raise UsageError, "say how to answer: --echo or --exec COMMAND" unless given[:echo] ^ given[:exec]

        @program = Program.new(given[:exec]) if given[:exec]
        @answered = 0
        @counting = Mutex.new
        @signals = Signals.new
        serve
      end

      private

      # @return [void]
      def count
        @counting.synchronize { @answered += 1 }
        @signals.stop if given[:count] && @answered >= given[:count]
      end

      # Prints a line about a request.
      # @param facts [Hash] what it is, for JSON
      # @param subject [String] the same for people
      # @param contents [Array] what was sent, and what it was answered with
      # @param seconds [Float]
      # @return [void]
      def tell(facts, subject, fulfilled, contents, seconds)
        return if given[:quiet]
        return tell_json(facts, fulfilled, contents, seconds) if terminal.json?

        outcome = terminal.paint(*(fulfilled ? ["fulfilled", :green] : ["rejected", :yellow]))
        shown = ": #{contents.map { |one| LogText.line(JSON.generate(one)) }.join(" -> ")}" if given[:content]
        terminal.say("#{Time.now.strftime("%T")} #{subject} #{outcome} in #{Units.duration(seconds)}#{shown}")
      end

      def tell_json(facts, fulfilled, contents, seconds)
        outcome = fulfilled ? "fulfilled" : "rejected"
        shown = given[:content] ? { content: contents.first, answer: contents.last } : {}
        terminal.json({ at: Time.now.utc.strftime("%FT%T.%LZ"), **facts, outcome: outcome, seconds: seconds.round(6),
                        **shown }, lines: true)
      end
    end
  end
end
