# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads the position that a group of events is moved to.
    # @api private
    module Position
      ID = /\A\d+-\d+\z/
      NAMED = %w[beginning new].freeze
      private_constant :ID, :NAMED

      # @param given [Symbol, String, Time]
      # @return [String, Integer] for the core
      # @raise [ArgumentError] if it is none
      def self.read(given)
        return (given.to_r * 1_000).floor.clamp(0, nil) if given.is_a?(Time)

        text = given.to_s
        return text if NAMED.include?(text) || text.match?(ID)

        raise ArgumentError, "a position is :beginning, :new, a Time or an id such as \"1700000000000-0\", got " \
                             "#{given.inspect}"
      end
    end
    private_constant :Position
  end
end
