# frozen_string_literal: true

module RedisIPC
  # For `rails generate`.
  module Generators
    # Checks names from the command line.
    # @api private
    module Names
      # @param what [String] the kind of name, for the message
      # @param name [String] in the terminal's encoding
      # @return [String] in UTF-8, the encoding of the generated files
      # @raise [Thor::Error] if it is blank or no valid text
      def self.check(what, name)
        name = name.dup.force_encoding(Encoding::UTF_8)
        raise Thor::Error, "#{what} must be text in UTF-8, got #{name.inspect}" unless name.valid_encoding?
        raise Thor::Error, "#{what} cannot be blank" if name.strip.empty?

        name
      end
    end
  end
end
