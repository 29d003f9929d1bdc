# frozen_string_literal: true

require "json"
require_relative "schema"

module Oracle
  module Wal
    # What is done to tables in a transaction beside which there is no other.
    module Alterations
      ALL = %i[truncate add drop rename_column rename_table to_text identity partition].freeze

      private

      def exec(sql)
        @writers.first.exec(sql)
      end

      # Says what was done to a table, as one who follows the log must know it.
      def tell_ddl(table, **what)
        tell(@writers.first, "ddl", JSON.generate(table: parts_of(table), **what))
      end

      def parts_of(table)
        table == Schema::ODD ? ['Odd "schema"', "Tab.le"] : ["public", table]
      end

      def truncate
        tables = @tables.keys.sample(@random.rand(1..2), random: @random)
        exec("TRUNCATE #{tables.join(", ")} #{any(["", "RESTART IDENTITY", "CASCADE", "RESTART IDENTITY CASCADE"])}")
      end

      # A table whose columns may change: not those of partitions.
      def alterable
        any(@tables.keys - ["parted", Schema::ODD])
      end

      def add
        table = alterable
        name = "added_#{@names += 1}"
        default = @literals.text
        exec("ALTER TABLE #{table} ADD #{name} text DEFAULT '#{default.gsub("'", "''")}'")
        @tables[table][name] = "text"
        tell_ddl(table, add: name, default: default)
      end

      # Columns that were added may go, and get other names.
      def added
        found = @tables.flat_map { |table, columns| columns.keys.grep(/\Aadded/).map { |name| [table, name] } }
        found.empty? ? (add && nil) : any(found)
      end

      def drop
        table, name = added
        return unless table

        exec("ALTER TABLE #{table} DROP #{name}")
        @tables[table].delete(name)
        tell_ddl(table, drop: name)
      end

      def rename_column
        table, name = added
        return unless table

        to = "added_#{@names += 1}"
        exec("ALTER TABLE #{table} RENAME #{name} TO #{to}")
        @tables[table][to] = @tables[table].delete(name)
        tell_ddl(table, rename: [name, to])
      end

      def rename_table
        table = any(@tables.keys - ["parted", "nothing", Schema::ODD])
        to = "renamed_#{@names += 1}"
        exec("ALTER TABLE #{table} RENAME TO #{to}")
        @tables[to] = @tables.delete(table)
        tell_ddl(table, to: to)
      end

      def to_text
        table = (@tables.keys - ["parted"]).find { |name| @tables[name]["n"] == "integer" }
        return add unless table

        exec("ALTER TABLE #{table} ALTER n TYPE text USING n::text")
        @tables[table]["n"] = "text"
        tell_ddl(table, to_text: "n")
      end

      def identity
        exec("ALTER TABLE #{any(keyed)} REPLICA IDENTITY #{any(%w[FULL DEFAULT])}")
      end

      def partition
        return if @parts > 5

        exec("CREATE TABLE parted_#{@parts} PARTITION OF parted FOR VALUES IN (#{@parts})")
        @parts += 1
      end
    end
  end
end
