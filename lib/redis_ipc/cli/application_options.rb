# frozen_string_literal: true

module RedisIPC
  module CLI
    # The options of every verb that is about an application. A subclass defines `parser`.
    # @api private
    class ApplicationOptions
      # @return [Array<String>] the files to load
      attr_reader :files
      # @return [Array<String>] what is required before everything else
      attr_reader :requires
      # @return [String, nil] the environment
      attr_reader :environment
      # @return [Array<String>, nil] the names of the classes that the verb is about; nil means all
      attr_reader :only
      # @return [Boolean] whether only the usage is asked for
      attr_reader :help

      def initialize
        @requires = []
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

      # @param only [String] what `--only` does
      def say_application(parser, only)
        parser.on("-r", "--require FILE", "a file or a library that is loaded first; may be given again") do |file|
          @requires << file
        end
        parser.on("-e", "--environment ENV", "the environment (RAILS_ENV and RACK_ENV)") { |name| @environment = name }
        parser.on("-o", "--only NAME,NAME", Array, only) { |names| @only = names.map(&:strip) }
      end

      def say_help(parser)
        parser.on("-h", "--help", "show this") { @help = true }
      end
    end
  end
end
