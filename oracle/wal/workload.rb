# frozen_string_literal: true

require "json"
require_relative "alterations"
require_relative "literals"
require_relative "schema"

module Oracle
  module Wal
    # Makes random transactions in tables of every kind. Several writers have transactions open at the same time, each
    # with rows of its own. Parts of transactions, and whole ones, are rolled back. Tables are altered, renamed and
    # truncated between changes; a logical message with the prefix "ddl" says so, for who follows the log.
    class Workload
      include Alterations

      WRITERS = 3
      # Columns that are not NULL.
      NEEDED = %w[code region a b part].freeze

      attr_reader :figures

      # @param random [Random]
      # @yieldreturn [PG::Connection] a new connection to the database
      def initialize(random, &connect)
        @random = random
        @literals = Literals.new(random)
        @writers = Array.new(WRITERS) { connect.call }
        @tables = Schema::TABLES.transform_values(&:dup)
        @uids = Array.new(WRITERS) { |number| number }
        @parts = 2
        @names = 0
        @figures = Hash.new(0)
      end

      # Makes the tables.
      def begin
        writer = @writers.first
        writer.exec("SET client_min_messages = warning; #{Schema::TYPES}")
        (@tables.keys - ["parted"]).each do |table|
          columns = @tables[table].map { |name, type| "#{name} #{type}" }
          writer.exec("CREATE TABLE #{table} (uid int NOT NULL, #{columns.join(", ")})")
        end
        writer.exec(Schema::IDENTITIES)
      end

      # Makes some transactions, or alters a table within one.
      def round
        return alone if @random.rand(4).zero?

        plans = @writers.each_index.to_h { |number| [number, @random.rand(1..8)] }
        @writers.each { |writer| writer.exec("BEGIN") }
        until plans.empty?
          number = any(plans.keys)
          change(number)
          next unless (plans[number] -= 1).zero?

          plans.delete(number)
          finish(number)
        end
      end

      def end
        @writers.each(&:close)
      end

      private

      def any(list)
        list[@random.rand(list.size)]
      end

      def finish(number)
        word = @random.rand(8).zero? ? "ROLLBACK" : "COMMIT"
        @figures[word.downcase.to_sym] += 1
        @writers[number].exec(word)
        word
      end

      # A transaction beside which there is no other. Before and after what it does to a table there are changes.
      def alone
        before = @tables.transform_values(&:dup)
        parts = @parts
        @writers.first.exec("BEGIN")
        @random.rand(3).times { change(0) }
        what = any(ALL)
        @figures[what] += 1
        send(what)
        @random.rand(1..3).times { change(0) }
        return unless finish(0) == "ROLLBACK"

        @tables = before
        @parts = parts
      end

      # A change of the rows of one writer, which may be undone at once.
      def change(number)
        writer = @writers[number]
        writer.exec("SAVEPOINT one")
        kind = any(%i[insert insert insert update update update delete message move])
        send(kind, number)
        @figures[kind] += 1
        writer.exec(@random.rand(6).zero? ? "ROLLBACK TO one" : "RELEASE one")
      rescue PG::UniqueViolation
        writer.exec("ROLLBACK TO one")
      end

      def insert(number)
        table = any(@tables.keys)
        rows = Array.new(@random.rand(1..3)) { row(table, @uids[number] += WRITERS) }
        columns = ["uid", *@tables[table].keys]
        @writers[number].exec("INSERT INTO #{table} (#{columns.join(", ")}) VALUES #{rows.join(", ")}")
      end

      def row(table, uid)
        "(#{[uid, *@tables[table].map { |name, type| value(name, type) }].join(", ")})"
      end

      def value(name, type)
        return @random.rand(@parts).to_s if name == "part"

        text = %w[apart bytes document].include?(name) ? long(type) : @literals.of(type)
        text ||= @literals.of(type) while text.nil? && NEEDED.include?(name)
        text ? "'#{text.gsub("'", "''")}'" : "NULL"
      end

      # Text that is stored apart.
      def long(type)
        text = @literals.long
        case type
        when "bytea" then "\\x#{text}"
        when "jsonb" then JSON.generate("text" => text)
        else text
        end
      end

      # The rows of a writer that this change concerns: one of so many.
      def some(number, of)
        "uid % #{WRITERS} = #{number} AND abs(hashint4(uid # #{@random.rand(1000)})) % #{of} = 0"
      end

      # Large values mostly stay as they are.
      def update(number)
        table = any(@tables.keys - ["nothing"])
        names = @tables[table].keys
        names -= %w[apart bytes document] unless @random.rand(4).zero?
        columns = Array.new(@random.rand(1..3)) { any(names) }.uniq & names
        return if columns.empty?

        sets = columns.map { |name| "#{name} = #{value(name, @tables[table][name])}" }
        @writers[number].exec("UPDATE #{table} SET #{sets.join(", ")} WHERE #{some(number, 4)}")
      end

      # The tables with a primary key that have other names by now, perhaps: kinds, large and pairs.
      def keyed
        @tables.select { |_, columns| [%w[c0], %w[apart], %w[b n]].any? { |names| (names - columns.keys).empty? } }.keys
      end

      # Changes keys, and not only to values that are new.
      def move(number)
        table = any([*keyed, Schema::ODD])
        set = @tables[table].key?("b") ? "a = a # 1" : "uid = uid + #{WRITERS * 1000}"
        @writers[number].exec("UPDATE #{table} SET #{set} WHERE #{some(number, 6)}")
      end

      def delete(number)
        table = any(@tables.keys - ["nothing"])
        @writers[number].exec("DELETE FROM #{table} WHERE #{some(number, 5)}")
      end

      def message(number)
        tell(@writers[number], "message", @literals.text, in_transaction: !@random.rand(3).zero?)
      end

      def tell(writer, prefix, text, in_transaction: true)
        writer.exec_params("SELECT pg_logical_emit_message($1, $2, $3::text)", [in_transaction, prefix, text])
      end
    end
  end
end
