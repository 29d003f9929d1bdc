# frozen_string_literal: true

require_relative "literals"

module Oracle
  module Wal
    # The tables: one for each replica identity, and those with all types, partitions, large values and odd names.
    module Schema
      ODD = '"Odd ""schema"""."Tab.le"'
      # The column that tells rows apart is `uid`. The replica identities are `default`, `index`, `full` and `nothing`.
      TABLES = {
        "kinds" => Literals::TYPES.each_with_index.to_h { |type, index| ["c#{index}", type] },
        "pairs" => { "a" => "integer", "b" => "text", "n" => "numeric", "note" => "text" },
        "indexed" => { "code" => "uuid", "region" => "text", "n" => "integer" },
        "whole" => { "a" => "double precision", "b" => "text[]", "c" => "jsonb", "d" => "timestamp with time zone" },
        "nothing" => { "a" => "text", "b" => "bytea" },
        "large" => { "apart" => "text", "bytes" => "bytea", "document" => "jsonb", "n" => "integer" },
        "parted" => { "part" => "integer", "n" => "numeric", "note" => "text" },
        ODD => { "\"Ünï \"\"x\"\"\"" => "text", '"select"' => "integer[]" }
      }.freeze
      TYPES = <<~SQL
        CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine", {so}');
        CREATE DOMAIN moods AS mood[];
        CREATE DOMAIN positive AS int CHECK (value > 0);
        CREATE TYPE pair AS (a int, b text);
        CREATE SCHEMA "Odd ""schema""";
      SQL
      IDENTITIES = <<~SQL
        ALTER TABLE pairs ADD PRIMARY KEY (a, b);
        ALTER TABLE indexed ALTER code SET NOT NULL, ALTER region SET NOT NULL;
        CREATE UNIQUE INDEX indexed_key ON indexed (region, code);
        ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_key;
        ALTER TABLE whole REPLICA IDENTITY FULL;
        ALTER TABLE nothing REPLICA IDENTITY NOTHING;
        ALTER TABLE kinds ADD PRIMARY KEY (uid);
        ALTER TABLE large ADD PRIMARY KEY (uid), ALTER apart SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL;
        ALTER TABLE "Odd ""schema"""."Tab.le" ADD PRIMARY KEY (uid);
        CREATE TABLE parted (uid int NOT NULL, note text, part int, n numeric, PRIMARY KEY (part, uid))
          PARTITION BY LIST (part);
        CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
        CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY RANGE (uid);
        CREATE TABLE parted_1_low (n numeric, part int NOT NULL, uid int NOT NULL, note text);
        ALTER TABLE parted_1 ATTACH PARTITION parted_1_low FOR VALUES FROM (MINVALUE) TO (100);
        CREATE TABLE parted_1_rest PARTITION OF parted_1 DEFAULT;
      SQL
    end
  end
end
