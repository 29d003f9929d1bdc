# frozen_string_literal: true

require_relative "application_options"

module RedisIPC
  module CLI
    # The options of `redis_ipc events`.
    # @api private
    class LogsOptions < ApplicationOptions
      # @return [String, nil] `"doctor"` or `"slots"`
      attr_reader :verb
      # @return [Boolean] whether the answer is JSON
      attr_reader :json

      # @param arguments [Array<String>]
      # @raise [OptionParser::ParseError]
      def initialize(arguments)
        super()
        @verb, *@files = parser.parse(arguments)
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
          say_application(parser, "look at the databases of these classes only")
          parser.on("-j", "--json", "print JSON") { @json = true }
          say_help(parser)
        end
      end
    end
  end
end
