# frozen_string_literal: true

module RedisIPC
  module CLI
    # Finds the verb of a command line, runs it, and finds the exit status of what it returns or raises.
    # @api private
    class Dispatcher
      # @param terminal [Terminal]
      def initialize(terminal)
        @terminal = terminal
      end

      # @param words [Array<String>] the command line
      # @return [Integer] the exit status
      def start(words)
        case words.first
        when nil then refuse("name a verb", Overview.text(width: @terminal.text_width))
        when "-h", "--help", "help" then help(words.drop(1))
        when "-v", "--version" then say("redis_ipc #{VERSION}")
        else find(words)
        end
      rescue Errno::EPIPE
        # Who reads has enough, as `head` has.
        $stdout.reopen(File::NULL)
        ExitStatus::PIPE_CLOSED
      end

      private

      def help(words)
        verb, = Catalog.find(words)
        return say(Help.new(verb, width: @terminal.text_width).to_s.chomp) if verb
        return unknown(words) unless words.empty? || Catalog.group(words.first).any?

        say(Overview.text(words.first, width: @terminal.text_width).chomp)
      end

      def find(words)
        verb, rest = Catalog.find(words)
        return run(verb, rest) if verb
        return unknown(words) if Catalog.group(words.first).empty?
        return help(words.first(1)) if %w[-h --help help].include?(words[1])

        second = words[1]
        refuse(second ? "there is no verb #{words.first(2).join(" ").inspect}" : "name a verb of #{words.first}",
               Overview.text(words.first, width: @terminal.text_width))
      end

      def unknown(words)
        similar = Catalog.similar(words)
        hint = similar && "; did you mean #{similar.inspect}?"
        refuse("there is no verb #{words.first.inspect}#{hint}", "redis_ipc --help lists the verbs.\n")
      end

      def run(verb, rest)
        given = CommandLine.read(verb, rest)
        return say(Help.new(verb, width: @terminal.text_width).to_s.chomp) if given[:help]

        @terminal.set(json: given[:json], color: given[:color])
        perform(verb, given)
      rescue OptionParser::ParseError, UsageError => e
        refuse(e.message, "Usage: #{verb.usage}\nredis_ipc #{verb.verb} --help says more.\n")
      end

      def perform(verb, given)
        instance = verb.new(given, @terminal)
        instance.prepare
        status = given[:watch] ? Watch.new(@terminal, given[:watch]).run { instance.run } : instance.run
        status.is_a?(Integer) ? status : ExitStatus::FINE
      rescue Interrupt
        verb.endless? || given[:watch] ? ExitStatus::FINE : ExitStatus::INTERRUPTED
      rescue StandardError => e
        # What a user's file raises has a backtrace worth reading.
        raise unless Failure.known?(e, verb)

        Failure.new(e, verb).tell(@terminal)
      ensure
        instance&.finish
      end

      def say(text)
        @terminal.say(text)
        ExitStatus::FINE
      end

      def refuse(what, usage)
        @terminal.warn("redis_ipc: #{what}\n\n#{usage.chomp}")
        ExitStatus::USAGE
      end
    end
  end
end
