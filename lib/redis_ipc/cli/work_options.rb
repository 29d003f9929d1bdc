# frozen_string_literal: true

module RedisIPC
  module CLI
    # The options of `redis_ipc work`.
    # @api private
    class WorkOptions
      # @return [Array<String>] the files to load
      attr_reader :files
      # @return [Array<String>] what is required before everything else
      attr_reader :requires
      # @return [String, nil] the environment
      attr_reader :environment
      # @return [Array<String>, nil] the names of the classes that run; nil means all
      attr_reader :only
      # @return [Float] seconds that running handlers are given at the end
      attr_reader :timeout
      # @return [Boolean] whether only the usage is asked for
      attr_reader :help

      # @param arguments [Array<String>]
      # @raise [OptionParser::ParseError]
      def initialize(arguments)
        @requires = []
        @timeout = 25.0
        @files = parser.parse(arguments)
      end

      # @return [String]
      def self.usage
        new([]).usage
      end

      # @return [String]
      def usage
        parser.to_s
      end

      private

      def parser
        @parser ||= OptionParser.new do |parser|
          parser.banner = <<~TEXT
            Usage: redis_ipc work [FILES] [options]

            Runs the channels and consumers of the Rails application in this folder; with FILES, those that are
            defined in these Ruby files.

          TEXT
          what(parser)
          how(parser)
          parser.separator("\nSignals: TERM and INT end it in order, a second one at once; TSTP pauses consumers, " \
                           "CONT\nresumes them; TTIN prints the backtraces of all threads.")
        end
      end

      def what(parser)
        parser.on("-r", "--require FILE", "a file or a library that is loaded first; may be given again") do |file|
          @requires << file
        end
        parser.on("-e", "--environment ENV", "the environment (RAILS_ENV and RACK_ENV)") { |name| @environment = name }
        parser.on("-o", "--only NAME,NAME", Array, "run these classes only, whatever is configured") do |names|
          @only = names.map(&:strip)
        end
      end

      def how(parser)
        parser.on("-t", "--timeout SECONDS", Float, "what runs at the end gets so long (25)") do |seconds|
          raise OptionParser::InvalidArgument, "must be at least 0" unless seconds >= 0 && seconds.finite?

          @timeout = seconds
        end
        parser.on("-h", "--help", "show this") { @help = true }
      end
    end
  end
end
