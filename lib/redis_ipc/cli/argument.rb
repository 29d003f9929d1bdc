# frozen_string_literal: true

module RedisIPC
  module CLI
    # A positional argument of a verb.
    # @api private
    class Argument
      # @return [Symbol] the name by which the verb reads it
      attr_reader :name
      # @return [String] what it is
      attr_reader :text

      # @param name [Symbol]
      # @param text [String]
      # @param words [Hash] `optional:`, `many:` (whether it is all that follows, perhaps nothing), `choices:` (what it
      #   may be), `title:` (its name in the usage)
      def initialize(name, text, **words)
        @name = name
        @text = text
        @words = words.freeze
        freeze
      end

      # @return [String] its name in the usage
      def title
        @words.fetch(:title) { name.to_s.upcase }
      end

      # @return [Array<String>, nil] what it may be
      def choices
        @words[:choices]
      end

      # @return [Boolean]
      def many?
        @words[:many] == true
      end

      # @return [Boolean]
      def required?
        !@words[:optional] && !many?
      end

      # @return [Boolean] whether it names files
      def files?
        name == :files
      end

      # @return [String] how the usage has it
      def usage
        return title if required?

        many? ? "[#{title} ...]" : "[#{title}]"
      end
    end
  end
end
