# frozen_string_literal: true

require "date"
require "json"
require "time"

module RedisIPC
  # Makes changes of PostgreSQL in tests.
  module Events
    # Makes what the core would read from PostgreSQL's log.
    # @api private
    module WalEntries
      OPERATIONS = { "insert" => "I", "update" => "U", "delete" => "D", "truncate" => "T" }.freeze
      # The types of columns, by the classes of their values.
      TYPES = { Integer => 20, Float => 701, TrueClass => 16, FalseClass => 16, Hash => 3802, Array => 3802,
                Time => 1184, Date => 1082 }.freeze
      TEXT = 25
      # The key, if it is not said.
      ID = "id"
      private_constant :OPERATIONS, :TYPES, :TEXT, :ID

      class << self
        # @param event [Hash{Symbol => Object}] `type:`, such as `"accounts.update"`, `key:`, the name of the column
        #   that is the key (`"id"`), and `data:`, the columns. With another type it is a logical message
        # @return [Array<Array(String, String)>]
        def fields(event)
          *place, operation = event[:type].to_s.split(".")
          code = OPERATIONS[operation]
          change = code && !place.empty? ? row(code, place, event) : message(event)
          [*change, ["lsn", "0/1"], ["tx", "1 0/1 0 1 #{(Time.now.to_r * 1_000_000).floor} 1"]]
        end

        private

        def row(code, place, event)
          columns = event[:data].is_a?(Hash) ? event[:data].transform_keys(&:to_s) : {}
          description = describe(*["public", *place].last(2), columns, (event[:key] || ID).to_s)
          tuple = [columns.size].pack("n") + columns.values.map { |value| written(value) }.join
          name = { "D" => "key", "T" => nil }.fetch(code, "new")
          [["op", code], ["table", description], *([[name, tuple]] if name)]
        end

        def message(event)
          [%w[op M], ["prefix", event[:type].to_s], ["content", event[:data].to_s]]
        end

        def describe(schema, table, columns, key)
          described = columns.map { |name, value| [name, TYPES.fetch(value.class, TEXT), name == key] }
          JSON.generate(schema: schema, table: table, identity: "default", columns: described)
        end

        def written(value)
          return "n" if value.nil?

          text = text(value).b
          "t".b + [text.bytesize].pack("N") + text
        end

        def text(value)
          case value
          when true then "t"
          when false then "f"
          when Hash, Array then JSON.generate(value)
          when Time then value.utc.strftime("%Y-%m-%d %H:%M:%S.%6N+00")
          else value.to_s
          end
        end
      end
    end
    private_constant :WalEntries
  end
end
