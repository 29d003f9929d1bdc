# frozen_string_literal: true

module RedisIPC
  # Writes a number of bytes for people.
  # @api private
  module ByteSize
    UNITS = %w[B kB MB GB TB].freeze
    STEP = 1024
    private_constant :UNITS, :STEP

    # @param count [Integer]
    # @return [String]
    # @example
    #   ByteSize.of(2_621_440)  #=> "2.5 MB"
    def self.of(count)
      power = (1...UNITS.size).take_while { |unit| count >= STEP**unit }.last || 0
      power.zero? ? "#{count} B" : "#{(count.to_f / (STEP**power)).round(1)} #{UNITS[power]}"
    end
  end
  private_constant :ByteSize
end
