# frozen_string_literal: true

module RedisIPC
  # For `rails generate`.
  module Generators
    # What was typed as a name.
    # @api private
    module Names
      # @param what [String] what it names, for the message
      # @param name [String] in whatever encoding the terminal has
      # @return [String] in UTF-8, as the files that are written
      # @raise [Thor::Error] if it is blank or no text
      def self.check(what, name)
        name = name.dup.force_encoding(Encoding::UTF_8)
        raise Thor::Error, "#{what} must be text in UTF-8, got #{name.inspect}" unless name.valid_encoding?
        raise Thor::Error, "#{what} cannot be blank" if name.strip.empty?

        name
      end
    end
  end
end
