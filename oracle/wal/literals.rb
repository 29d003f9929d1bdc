# frozen_string_literal: true

require "json"
require "securerandom"

module Oracle
  module Wal
    # Makes random values of PostgreSQL's types, as texts that PostgreSQL reads.
    class Literals
      # What ordinary texts do not have, and texts that mean something elsewhere.
      WORDS = ["", " ", "NULL", "null", "it's", '"', "\\", "\\\\x", "{", "}", "{,}", "a,b", "ä\u00e9\u{1F600}",
               "\n\t\r",
               "$1", "BEGIN", "%s", "(1,\"x\")", "\u200b", "0", "t", "[1:2]={3,4}", "unchanged-toast-datum"].freeze
      ZONES = %w[UTC Europe/Berlin America/St_Johns Asia/Kathmandu +14 -12].freeze

      # What is made of each type: the edges, and a block for the others.
      EDGES = {
        "smallint" => %w[-32768 32767 0], "integer" => %w[-2147483648 2147483647 0],
        "bigint" => %w[-9223372036854775808 9223372036854775807 0], "oid" => %w[0 4294967295],
        "real" => %w[NaN Infinity -Infinity 0 -0 1.17549435e-38 3.4028235e38 0.1 1e10],
        "double precision" => %w[NaN Infinity -Infinity -0 2.2250738585072014e-308 1.7976931348623157e308 0.1 1e23],
        "numeric" => %w[NaN Infinity -Infinity 0 0.000 -1.50 1e-40 99999999999999999999999999999999.99999999],
        "boolean" => %w[t f], "bytea" => ["\\x", "\\x00", "\\x5c", "\\x27ff"],
        "date" =>
          ["infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "12026-02-03", "2024-02-29", "5874897-12-31"],
        "timestamp without time zone" =>
          ["infinity", "-infinity", "0044-03-15 12:00:00.5 BC", "2026-02-03 04:05:06.789012",
           "294276-12-31 23:59:59.999999"],
        "timestamp with time zone" =>
          ["infinity", "-infinity", "0044-03-15 12:00:00+01 BC", "1900-01-01 00:00:00 Europe/Amsterdam",
           "2026-10-25 02:30:00+02", "10000-01-01 00:00:00.000001+00"],
        "time without time zone" => %w[00:00:00 24:00:00 04:05:06.000001],
        "time with time zone" => %w[00:00:00+15:59 23:59:59.999999-15:59],
        "interval" => ["0", "1 year -2 mons 3 days -04:05:06.000007", "-00:00:00.000001", "178000000 years"],
        "mood" => ["sad", "ok", "it's \"fine\", {so}"],
        "moods" => ["{}", "{sad,NULL,\"it's \\\"fine\\\", {so}\"}"],
        "int4range" => ["empty", "[1,5)", "(,)", "[,3)"], "numrange" => ["(0.5,1.5]", "empty"],
        "tstzrange" => ['["2026-01-01 00:00:00+01",infinity)', "(,)"], "int4multirange" => ["{}", "{[1,3),[5,9)}"],
        "inet" => %w[10.0.0.1/8 ::1], "cidr" => %w[10.0.0.0/8], "macaddr" => %w[08:00:2b:01:02:03],
        "point" => %w[(1,-0.5)], "box" => ["(1,1),(0,0)"], "box[]" => ["{(1,1),(0,0);(2,2),(1,1)}", "{}"],
        "bit varying" => ["", "101"], "xml" => ["<a b=\"c\">d'</a>"], "tsvector" => ["'a':1 'b c':2"],
        "positive" => %w[1 7], "pair" => ['(1,"x,y")', "(,)"]
      }.freeze
      TEXTS = ["text", "character varying", "character(5)", "name"].freeze
      SHORT = { "character varying" => 9, "character(5)" => 5, "name" => 20 }.freeze
      ELEMENTS = ["integer", "bigint", "text", "boolean", "bytea", "numeric", "double precision", "date", "uuid",
                  "jsonb", "timestamp with time zone", "timestamp without time zone", "interval"].freeze
      ARRAYS = ELEMENTS.to_h { |type| ["#{type}[]", type] }.freeze
      # All types.
      TYPES = [*EDGES.keys, *TEXTS, "uuid", "json", "jsonb", *ARRAYS.keys].freeze

      # @param random [Random]
      def initialize(random)
        @random = random
      end

      # Returns a value of a type; nil for NULL.
      # @return [String, nil]
      def of(type)
        @random.rand(8).zero? ? nil : value(type)
      end

      # Returns a text that is stored apart (TOAST): it is long, and cannot be compressed much.
      def long
        @random.bytes(@random.rand(3_000..12_000)).unpack1("H*")
      end

      # Returns a text of words.
      def text
        words = Array.new(@random.rand(1..4)) { @random.rand(3).zero? ? any(WORDS) : @random.rand(36**8).to_s(36) }
        words.join(any(["", " "]))
      end

      private

      def any(list)
        list[@random.rand(list.size)]
      end

      def value(type)
        return array(ARRAYS.fetch(type)) if ARRAYS.key?(type)
        return text[0, SHORT.fetch(type, 100)].delete("\u0000") if TEXTS.include?(type)

        case type
        when "uuid" then SecureRandom.uuid.gsub(/\h/) { @random.rand(16).to_s(16) }
        when "json", "jsonb" then JSON.generate(json(3))
        else EDGES.key?(type) && @random.rand(3).zero? ? any(EDGES[type]) : ordinary(type)
        end
      end

      def ordinary(type)
        case type
        when "bytea" then "\\x#{@random.bytes(@random.rand(1..40)).unpack1("H*")}"
        when "date" then date
        when "timestamp without time zone" then "#{date} #{time}"
        when "timestamp with time zone" then "#{date} #{time} #{any(ZONES)}"
        when "time without time zone" then time
        else number(type) || any(EDGES.fetch(type))
        end
      end

      def number(type)
        case type
        when "smallint" then @random.rand(-1000..1000).to_s
        when "integer", "bigint", "oid" then @random.rand(2**31).to_s
        when "real" then (@random.rand * 1000).round(3).to_s
        when "double precision" then (@random.rand - 0.5).to_s
        when "numeric" then "#{@random.rand(10**12)}.#{@random.rand(10**@random.rand(1..9))}"
        end
      end

      def date
        format("%<year>04d-%<month>02d-%<day>02d",
               year: @random.rand(1..2400), month: @random.rand(1..12), day: @random.rand(1..28))
      end

      def time
        parts = { hour: @random.rand(24), minute: @random.rand(60), second: @random.rand(60) }
        format("%<hour>02d:%<minute>02d:%<second>02d", parts) + any(["", ".5", ".000001", ".123456"])
      end

      # An array, perhaps one of arrays, with NULLs in it. PostgreSQL has no array of arrays of several lengths, and
      # Ruby cannot tell an array of arrays of JSON from one of JSON that is an array.
      def array(type)
        elements = Array.new(@random.rand(4)) { element(type) }
        return "{#{elements.join(",")}}" if elements.empty? || type == "jsonb" || !@random.rand(4).zero?

        rows = [elements] + Array.new(@random.rand(2)) { elements.map { element(type) } }
        "{#{rows.map { |row| "{#{row.join(",")}}" }.join(",")}}"
      end

      def element(type)
        text = of(type)
        text ? "\"#{text.gsub(/["\\]/) { |sign| "\\#{sign}" }}\"" : "NULL"
      end

      # JSON that is the same after Ruby has read it, and is not null, which Ruby cannot tell from NULL.
      def json(depth)
        case @random.rand(depth.zero? ? 4 : 6)
        when 0 then @random.rand(-10..10)
        when 1 then (@random.rand * 100).round(2)
        when 2 then text
        when 3 then true
        when 4 then Array.new(@random.rand(3)) { any([nil, json(depth - 1)]) }
        else Array.new(@random.rand(3)) { |index| ["k#{index}#{any(WORDS)}", json(depth - 1)] }.to_h
        end
      end
    end
  end
end
