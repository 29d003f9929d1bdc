# frozen_string_literal: true

module RedisIPC
  module ACL
    # Checks names that become parts of rules.
    # @api private
    module RuleText
      # The characters that have a meaning in a pattern.
      WILDCARDS = /[*?\[\]\\^]/
      # Redis ends a rule at one of these characters.
      ENDS = /[\s\0()]/
      private_constant :WILDCARDS, :ENDS

      class << self
        # @param what [String] what it names, for the message
        # @param name [String, Symbol]
        # @return [String] a pattern that only this name matches
        # @raise [ArgumentError] if no rule can hold it
        def escaped(what, name)
          checked(what, name).gsub(WILDCARDS) { |character| "\\#{character}" }
        end

        # @param (see escaped)
        # @return [String] the name as it is
        # @raise (see escaped)
        def checked(what, name)
          name = Names.check("the #{what}'s name", name)
          return name unless name.match?(ENDS)

          raise ArgumentError, "no ACL rule can hold the #{what}'s name #{name.inspect}: Redis ends rules at white " \
                               "space and parentheses"
        end
      end
    end
    private_constant :RuleText
  end
end
