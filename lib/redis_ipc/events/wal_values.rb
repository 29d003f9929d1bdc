# frozen_string_literal: true

require "date"

module RedisIPC
  module Events
    # Converts values of PostgreSQL's types. A value of an unknown type stays text, and so does a value that Ruby's
    # class for it cannot hold, such as the date "infinity".
    # @api private
    module WalValues
      # The ids of types, and those of arrays of them.
      TYPES = {
        boolean: [[16], [1000]], bytes: [[17], [1001]], integer: [[20, 21, 23, 26], [1005, 1007, 1016, 1028]],
        float: [[700, 701], [1021, 1022]], json: [[114, 3802], [199, 3807]], date: [[1082], [1182]],
        time: [[1114, 1184], [1115, 1185]],
        # char, name, text, xml, bpchar, varchar, time, interval, timetz, numeric, uuid
        text: [[18, 19, 25, 142, 1042, 1043, 1083, 1186, 1266, 1700, 2950],
               [1002, 1003, 1009, 143, 1014, 1015, 1183, 1187, 1270, 1231, 2951]]
      }.freeze
      READERS = TYPES.flat_map { |name, (single, _)| single.map { |id| [id, name] } }.to_h.freeze
      ELEMENTS = TYPES.flat_map { |name, (_, arrays)| arrays.map { |id| [id, name] } }.to_h.freeze
      FLOATS = { "NaN" => Float::NAN, "Infinity" => Float::INFINITY, "-Infinity" => -Float::INFINITY }.freeze
      DATE = /\A(\d{4,})-(\d\d)-(\d\d)\z/
      TIME = /\A(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:\+00)?\z/
      private_constant :TYPES, :READERS, :ELEMENTS, :FLOATS, :DATE, :TIME

      # The letters by which {EntryFields#row} reads texts.
      CODES = { integer: "i", float: "f", boolean: "b", text: "t" }.freeze
      # The letter of a type that is read here afterwards.
      OTHER = "r"
      private_constant :CODES

      class << self
        # @param type_id [Integer]
        # @return [String] the letter by which {EntryFields#row} reads its texts
        def code(type_id)
          return OTHER if ELEMENTS.key?(type_id)

          CODES.fetch(READERS.fetch(type_id, :text), OTHER)
        end

        # @param type_id [Integer]
        # @param text [String] as PostgreSQL writes it
        # @return [Object] frozen
        def read(type_id, text)
          reader = READERS[type_id]
          return public_send(reader, text) if reader

          element = ELEMENTS[type_id]
          element ? WalArray.read(text) { |one| public_send(element, one) } : self.text(text)
        end

        def text(text)
          text = text.dup.force_encoding(Encoding::UTF_8) unless text.encoding == Encoding::UTF_8
          text.frozen? ? text : text.freeze
        end

        def boolean(text)
          text == "t"
        end

        def integer(text)
          Integer(text, 10)
        end

        def float(text)
          FLOATS.fetch(text) { Float(text) }
        end

        def bytes(text)
          [text.byteslice(2..)].pack("H*").freeze
        end

        # Parses JSON. It stays text if it is nested deeper than the parser allows.
        def json(text)
          Native.load_frozen(text(text))
        rescue ContentError
          text(text)
        end

        def date(text)
          match = DATE.match(text)
          match ? Date.new(*match.captures.map(&:to_i)).freeze : text(text)
        end

        def time(text)
          match = TIME.match(text) or return text(text)
          *parts, fraction = match.captures
          seconds = fraction ? Rational(fraction.to_i, 10**fraction.size) : 0
          *parts, second = parts.map(&:to_i)
          Time.utc(*parts, second + seconds).freeze
        end
      end
    end
    private_constant :WalValues
  end
end
