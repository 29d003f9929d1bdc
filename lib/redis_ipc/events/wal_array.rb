# frozen_string_literal: true

require "strscan"

module RedisIPC
  module Events
    # Parses the text of an array of PostgreSQL: `{1,NULL,"a \"b\""}`. Arrays may be nested, and bounds may come first.
    # @api private
    module WalArray
      BOUNDS = /(?:\[[+-]?\d+:[+-]?\d+\])+=/
      QUOTED = /"((?:[^"\\]|\\.)*)"/m
      PLAIN = /(?:[^",{}\\]|\\.)+/m
      ESCAPE = /\\(.)/m
      private_constant :BOUNDS, :QUOTED, :PLAIN, :ESCAPE

      class << self
        # @param text [String]
        # @yieldparam element [String]
        # @return [Array, String] frozen; the text if it is no array
        def read(text, &element)
          scanner = StringScanner.new(text.dup.force_encoding(Encoding::UTF_8))
          scanner.skip(BOUNDS)
          list(scanner, &element) || scanner.string.freeze
        end

        private

        def list(scanner, &element)
          return unless scanner.skip(/\{/)

          found = []
          until scanner.skip(/\}/)
            return if scanner.eos?

            found << one(scanner, &element)
            scanner.skip(/,/)
          end
          found.freeze
        end

        def one(scanner, &element)
          return list(scanner, &element) if scanner.check(/\{/)
          return yield(scanner[1].gsub(ESCAPE, "\\1").freeze) if scanner.scan(QUOTED)

          plain = scanner.scan(PLAIN) || scanner.getch
          plain == "NULL" ? nil : yield(plain.gsub(ESCAPE, "\\1").freeze)
        end
      end
    end
    private_constant :WalArray
  end
end
