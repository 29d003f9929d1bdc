# frozen_string_literal: true

require_relative "application_options"

module RedisIPC
  module CLI
    # The options of `redis_ipc work`.
    # @api private
    class WorkOptions < ApplicationOptions
      # @return [Float] seconds that running handlers are given at the end
      attr_reader :timeout

      # @param arguments [Array<String>]
      # @raise [OptionParser::ParseError]
      def initialize(arguments)
        super()
        @timeout = 25.0
        @files = parser.parse(arguments)
      end

      private

      def parser
        @parser ||= OptionParser.new do |parser|
          parser.banner = <<~TEXT
            Usage: redis_ipc work [FILES] [options]

            Runs the channels and consumers of the Rails application in this folder; with FILES, those that are
            defined in these Ruby files.

          TEXT
          say_application(parser, "run these classes only, whatever is configured")
          say_timeout(parser)
          say_help(parser)
          parser.separator("\nSignals: TERM and INT end it in order, a second one at once; TSTP pauses consumers, " \
                           "CONT\nresumes them; TTIN prints the backtraces of all threads.")
        end
      end

      def say_timeout(parser)
        parser.on("-t", "--timeout SECONDS", Float, "what runs at the end gets so long (25)") do |seconds|
          raise OptionParser::InvalidArgument, "must be at least 0" unless seconds >= 0 && seconds.finite?

          @timeout = seconds
        end
      end
    end
  end
end
