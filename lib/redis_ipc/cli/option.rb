# frozen_string_literal: true

module RedisIPC
  module CLI
    # An option of a verb. Parsing, help and completions are made of this one declaration.
    # @api private
    class Option
      # @return [Symbol] the name by which the verb reads it
      attr_reader :name
      # @return [Array<String>] as for OptionParser: `"-t"`, `"--timeout SECONDS"`
      attr_reader :flags
      # @return [String] what it does
      attr_reader :text

      # @param name [Symbol]
      # @param flags [Array<String>]
      # @param text [String]
      # @param words [Hash] `type:` (Integer, Float or Array), `default:`, `choices:` (the values that it may have),
      #   `least:` (the lowest number that it may be), `over:` (the number that it must be over), `repeated:` (whether
      #   it may be given several times; its value is an Array then)
      def initialize(name, *flags, text, **words)
        @name = name
        @flags = flags.freeze
        @text = text
        @words = words.freeze
        freeze
      end

      # @return [Class, nil] what OptionParser makes of the value; nil for a String, or for no value
      def type
        @words[:type]
      end

      # @return [Object, nil] the value if it is not given
      def default
        @words[:default]
      end

      # @return [Array<String>, nil] the values that it may have
      def choices
        @words[:choices]
      end

      # @return [Boolean]
      def repeated?
        @words[:repeated] == true
      end

      # @return [Array<String>] the flags without what they take: `["-t", "--timeout"]`
      def switches
        flags.map { |flag| flag[/\A[^\s=\[]+/] }
      end

      # @return [String, nil] the name of its value: `"SECONDS"`
      def takes
        flags.last[/[\s=]\[?([A-Z,]+)/, 1]
      end

      # @return [Boolean] whether it may be given without its value
      def value_optional?
        flags.last.include?("[=")
      end

      # @param value [Object] what OptionParser has read
      # @return [Object]
      # @raise [UsageError] if the option may not have it
      def checked(value)
        value.is_a?(Numeric) ? check_number(value) : check_choice(value)
        value
      end

      private

      def check_number(value)
        least, over = @words.values_at(:least, :over)
        wrong("must be at least #{least}") if least && !(value >= least && value.finite?)
        wrong("must be over #{over}") if over && !(value > over && value.finite?)
      end

      def check_choice(value)
        return if choices.nil? || choices.include?(value)

        wrong("must be one of #{choices.join(", ")}, got #{value.inspect}")
      end

      def wrong(text)
        raise UsageError, "#{switches.last} #{text}"
      end
    end
  end
end
