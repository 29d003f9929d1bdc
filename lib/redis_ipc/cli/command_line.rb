# frozen_string_literal: true

module RedisIPC
  module CLI
    # Reads the arguments and options that a verb was given.
    # @api private
    class CommandLine
      # An OptionParser without the options that it adds by itself, such as `--version`.
      class Parser < OptionParser
        def add_officious; end
      end
      private_constant :Parser

      # @param verb [Class]
      # @param words [Array<String>]
      # @return [Hash{Symbol => Object}] the values of all arguments and options
      # @raise [OptionParser::ParseError, UsageError]
      def self.read(verb, words)
        new(verb).read(words)
      end

      # @param verb [Class]
      def initialize(verb)
        @verb = verb
        @values = verb.options.to_h { |option| [option.name, option.repeated? ? [] : option.default] }
      end

      # @param words [Array<String>]
      # @return [Hash{Symbol => Object}]
      def read(words)
        rest = parser.parse(words)
        assign(rest) unless @values[:help]
        @values.freeze
      end

      private

      def parser
        Parser.new do |parser|
          @verb.options.each { |option| define(parser, option) }
        end
      end

      def define(parser, option)
        parser.on(*option.flags, *option.type) do |value|
          value = value.nil? ? true : option.checked(value)
          option.repeated? ? @values[option.name] << value : @values[option.name] = value
        end
      end

      def assign(rest)
        @verb.arguments.each do |argument|
          raise UsageError, "#{argument.title} is missing" if argument.required? && rest.empty?

          @values[argument.name] = argument.many? ? rest.slice!(0..) : checked(argument, rest.shift)
        end
        raise UsageError, "there is no argument #{rest.first.inspect} here" unless rest.empty?
      end

      def checked(argument, value)
        return value if value.nil? || argument.choices.nil? || argument.choices.include?(value)

        raise UsageError, "#{argument.title} must be one of #{argument.choices.join(", ")}, got #{value.inspect}"
      end
    end
  end
end
