# frozen_string_literal: true

module RedisIPC
  module Events
    # Checks what a consumer class declares. The messages name the declaration and what was expected.
    # @api private
    module Check
      class << self
        # @param who [String] the class
        # @param word [String] the declaration
        # @param options [Hash] its given options
        # @param names [Array<Symbol>] the options that it knows
        def known(who, word, options, names)
          unknown = (options.keys - names).first
          return if unknown.nil?

          here = names.empty? ? "it takes none" : "known here: #{names.join(", ")}"
          refuse("unknown option #{unknown.inspect} of #{word} in #{who}; #{here}")
        end

        # @param given [Hash] the options of `start`
        # @param foreign [Hash{Symbol => String}] the options that mean nothing for the source of the class, and why
        def foreign(who, given, foreign)
          word = given.keys.find { |key| foreign.key?(key) }
          refuse("#{word}: of #{who} #{foreign[word]}") if word
        end

        # @return [String]
        def named(what, name)
          Names.check(what, name)
        rescue ArgumentError => e
          refuse(e.message)
        end

        # @param who [String] the class
        # @param word [String, Symbol] the declaration
        # @param name [Symbol] one of its options
        # @param options [Hash] its given options
        # @return [Boolean] false if it was not given
        def flag(who, word, name, options)
          given = options[name]
          return given ? true : false if given.nil? || given == true || given == false

          refuse("#{name}: of #{word} of #{who} must be true or false, got #{given.inspect}")
        end

        # @return [Boolean] whether it is a number of seconds
        def seconds?(given)
          given.is_a?(Numeric) && given.real? && given.finite? && given >= 0
        end

        # @return [Integer]
        def number(what, given, range)
          return given if given.is_a?(Integer) && range.cover?(given)

          refuse("#{what} must be a whole number from #{range.first} to #{range.last}, got #{given.inspect}")
        end

        # @raise [ConfigurationError]
        def refuse(text)
          raise ConfigurationError, text
        end
      end
    end
    private_constant :Check
  end
end
