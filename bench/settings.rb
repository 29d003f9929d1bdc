# frozen_string_literal: true

module Bench
  # Reads and writes words "name=value", which the processes of a measurement exchange: Integers, Floats, or words
  # without blanks.
  module Settings
    class << self
      def parse(words)
        words.to_h do |word|
          name, value = word.split("=", 2)
          [name.to_sym, Integer(value, exception: false) || Float(value, exception: false) || value]
        end
      end

      def format(hash)
        hash.compact.map { |name, value| "#{name}=#{value}" }.join(" ")
      end
    end
  end
end
