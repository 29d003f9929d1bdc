# frozen_string_literal: true

module RedisIPC
  module CLI
    # The options of `redis_ipc events`.
    # @api private
    class LogsOptions
      # @return [String, nil] `"doctor"` or `"slots"`
      attr_reader :verb
      # @return [Array<String>] the files to load
      attr_reader :files
      # @return [Array<String>] what is required before everything else
      attr_reader :requires
      # @return [String, nil] the environment
      attr_reader :environment
      # @return [Array<String>, nil] the names of the classes; nil means all
      attr_reader :only
      # @return [Boolean] whether the answer is JSON
      attr_reader :json
      # @return [Boolean] whether only the usage is asked for
      attr_reader :help

      # @param arguments [Array<String>]
      # @raise [OptionParser::ParseError]
      def initialize(arguments)
        @requires = []
        @verb, *@files = parser.parse(arguments)
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
            Usage: redis_ipc events doctor [FILES] [options]
                   redis_ipc events slots [FILES] [options]

            Looks at the databases of PostgreSQL whose logs the consumers of the Rails application in this folder read;
            with FILES, those that are defined in these Ruby files. Nothing is changed.

                doctor    what a consumer lacks there, and the statement that brings it; the status is 1 if it is needed
                slots     the replication slots, what they keep of the log, and which consumer reads them

          TEXT
          options(parser)
        end
      end

      def options(parser)
        parser.on("-r", "--require FILE", "a file or a library that is loaded first; may be given again") do |file|
          @requires << file
        end
        parser.on("-e", "--environment ENV", "the environment (RAILS_ENV and RACK_ENV)") { |name| @environment = name }
        parser.on("-o", "--only NAME,NAME", Array, "look at the databases of these classes only") do |names|
          @only = names.map(&:strip)
        end
        parser.on("-j", "--json", "print JSON") { @json = true }
        parser.on("-h", "--help", "show this") { @help = true }
      end
    end
  end
end
