# frozen_string_literal: true

RSpec.describe "values of PostgreSQL's log" do
  include WalDatabases

  # The Ruby value of a text, by type.
  of_types = {
    "int2" => [["-7", -7]], "int4" => [["2147483647", (2**31) - 1]], "int8" => [["9223372036854775807", (2**63) - 1]],
    "oid" => [["26", 26]], "bool" => [["t", true], ["f", false]],
    "float4" => [["1.5", 1.5], ["Infinity", Float::INFINITY]],
    "float8" => [["0.1", 0.1], ["-Infinity", -Float::INFINITY]],
    "numeric" => [["1234567890123456789012345.10"] * 2, %w[NaN NaN]],
    "text" => [["ü\n\"{", "ü\n\"{"], ["", ""]], "varchar(9)" => [%w[a a]], "char(3)" => [["a", "a  "]],
    "name" => [%w[a a]], "bytea" => [["\\x00ff", "\x00\xFF".b], ["\\x", "".b]],
    "date" => [["2026-02-03", Date.new(2026, 2, 3)], %w[infinity infinity], ["0044-03-15 BC", "0044-03-15 BC"],
               ["12026-02-03", Date.new(12_026, 2, 3)]],
    "timestamp" => [["2026-02-03 04:05:06.789012", Time.utc(2026, 2, 3, 4, 5, 6 + Rational(789_012, 1_000_000))],
                    %w[-infinity -infinity]],
    "timestamptz" => [["2026-02-03 04:05:06+02", Time.utc(2026, 2, 3, 2, 5, 6)]],
    "time" => [%w[04:05:06 04:05:06]], "interval" => [["1 day 02:00", "1 day 02:00:00"]],
    "uuid" => [["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"] * 2],
    "json" => [['{"a": [1, null]}', { "a" => [1, nil] }], ["null", nil]],
    "jsonb" => [['"x"', "x"], ["#{"[" * 200}#{"]" * 200}"] * 2],
    "int4[]" => [["{1,NULL,3}", [1, nil, 3]], ["{}", []], ["{{1,2},{3,4}}", [[1, 2], [3, 4]]], ["[2:3]={1,2}", [1, 2]]],
    "text[]" => [['{a,"b c","d\"\\\\e","NULL",NULL,"","{,}"}', ["a", "b c", 'd"\\e', "NULL", nil, "", "{,}"]]],
    "bool[]" => [["{t,f}", [true, false]]], "bytea[]" => [['{"\\\\x00"}', ["\0".b]]],
    "numeric[]" => [["{1.10}", ["1.10"]]], "date[]" => [["{2026-02-03}", [Date.new(2026, 2, 3)]]],
    "timestamptz[]" => [['{"2026-02-03 04:05:06+00"}', [Time.utc(2026, 2, 3, 4, 5, 6)]]],
    "jsonb[]" => [['{"{\"a\": 1}"}', [{ "a" => 1 }]]], "uuid[]" => [["{}", []]], "float8[]" => [["{0.5}", [0.5]]],
    "int4range" => [["[1,5)"] * 2], "inet" => [["10.0.0.1/8"] * 2], "mood" => [%w[sad sad]], "point" => [["(1,2)"] * 2]
  }

  it "have Ruby's classes, and are frozen" do
    pg.exec("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    columns = of_types.keys.each_with_index.map { |type, index| "c#{index} #{type}" }
    pg.exec("CREATE TABLE every (id serial PRIMARY KEY, #{columns.join(", ")})")
    got = Queue.new
    consume_from(wal: wal_url, tables: "every", slot: "ipc", create: true) { |event| got << event }
    of_types.values.map(&:size).max.times do |round|
      rows = of_types.values.map { |values| values[round] }
      texts = rows.map { |text, _| text.nil? ? "NULL" : "'#{pg.escape(text)}'" }
      pg.exec("INSERT INTO every VALUES (DEFAULT, #{texts.join(", ")})")
      event = next_of(got)
      data = event.data
      # What has no native event reads the same.
      expect(Marshal.load(Marshal.dump(event)).data.to_a.inspect).to eq(data.to_a.inspect)
      of_types.keys.each_with_index do |type, index|
        value = data["c#{index}"]
        expect([type, value, value.frozen?]).to eq([type, rows[index]&.last, true])
        expect(value.encoding).to eq(rows[index].last.encoding) if value.is_a?(String)
      end
    end
  end
end
