# frozen_string_literal: true

RSpec.describe RedisIPC::ChangeEvent do
  let(:published) do
    { "type" => "order.created", "key" => "7", "data" => '{"order_id":7,"lines":[{"sku":"a"}],"note":null}' }
  end

  define_method(:event) do |fields, deliveries: 1, **format|
    # Builds an event as the core returns it.
    values = ["1767225600123-4", 1_767_225_600_123, fields.freeze, deliveries, 1_767_225_600_200]
    format = RedisIPC::Events.const_get(:EntryFormat).new("orders", **format)
    described_class.new(RedisIPC::Events.stored(values), format)
  end

  it "has all that was published" do
    expect(event(published)).to be_frozen.and have_attributes(
      source: "orders", kind: :stream, operation: :message, type: "order.created", key: "7",
      data: { "order_id" => 7, "lines" => [{ "sku" => "a" }], "note" => nil }, old: nil, changes: nil,
      position: "1767225600123-4", occurred_at: Time.at(1_767_225_600.123r), received_at: Time.at(1_767_225_600.2r),
      guarantee: :at_least_once, attempt: 1, redelivered?: false, fence: nil, transaction: nil,
      metadata: { fields: published }
    )
  end

  describe "as an event of cdc-core" do
    # The parameters of the constructor in cdc-core.
    cdc_event = Struct.new(:operation, :schema, :table, :old_values, :new_values, :primary_key, :transaction_id,
                           :commit_lsn, :sequence_number, :occurred_at, :metadata, keyword_init: true)

    it "has the values, the key and the metadata of its delivery" do
      stub_const("CDC::Core::ChangeEvent", cdc_event)
      expect(event(published, deliveries: 2).to_cdc).to have_attributes(
        operation: :message, schema: "redis", table: "orders", old_values: nil, primary_key: { "key" => "7" },
        new_values: { "order_id" => 7, "lines" => [{ "sku" => "a" }], "note" => nil }, transaction_id: nil,
        commit_lsn: nil, sequence_number: nil, occurred_at: Time.at(1_767_225_600.123r),
        metadata: { "source" => "orders", "kind" => "stream", "type" => "order.created", "attempt" => 2,
                    "position" => "1767225600123-4", "redelivered" => true, "delivery" => "at_least_once" }
      )
      expect(event({ "data" => "[1]" }).to_cdc)
        .to have_attributes(new_values: { "data" => [1] }, primary_key: { "id" => "1767225600123-4" })
      expect(event({ "data" => "null" }).to_cdc.new_values).to be_nil
      expect(event({ "room" => "attic" }).to_cdc.new_values).to eq("room" => "attic")
    end

    it "needs that gem" do
      expect { event(published).to_cdc }.to raise_error(RedisIPC::ConfigurationError, %r{require "cdc/core" first})
    end
  end

  it "knows that it may have run before" do
    expect(event(published, deliveries: 2)).to have_attributes(attempt: 2, redelivered?: true)
  end

  it "finds data by Strings and Symbols" do
    order = event(published)
    expect([order["order_id"], order[:order_id], order[:none]]).to eq([7, 7, nil])
    expect([order.dig(:lines, 0, :sku), order.dig("lines", 9, "sku"), order.dig(:none, :more)]).to eq(["a", nil, nil])
    expect([order.fetch(:order_id), order.fetch(:none, 1), order.fetch(:none) { |name| name }]).to eq([7, 1, "none"])
    expect { order.fetch(:none) }.to raise_error(KeyError)
  end

  it "finds data of any kind" do
    list = event({ "data" => "[1,2]" })
    expect([list[1], list["a"], list.fetch(0), list.dig(1)]).to eq([2, nil, 1, 2]) # rubocop:disable Style/SingleArgumentDig
    text = event({ "data" => '"text"' })
    expect([text.data, text["a"], text.fetch("a", 1)]).to eq(["text", nil, 1])
  end

  it "decodes its data once, on first use, into frozen values" do
    order = event(published)
    expect(order.data).to equal(order.data)
    expect([order.data, order.data["lines"], order.data["lines"].first["sku"]]).to all(be_frozen)
  end

  describe "of another program" do
    let(:fields) { { "event" => "hot", "payload" => '{"celsius":90}', "room" => "attic" } }

    it "has its fields as Strings" do
      expect(event(fields)).to have_attributes(data: fields, type: nil, key: nil)
    end

    it "has its type and its data in the fields that are declared" do
      sensor = event(fields, json: "payload", type: "event")
      expect(sensor).to have_attributes(type: "hot", data: { "celsius" => 90 }, metadata: { fields: fields })
    end

    it "is not taken for one of ours because of one field with the same name" do
      fields = { "data" => "plain", "type" => "t", "more" => "1" }
      expect(event(fields)).to have_attributes(data: fields, type: nil)
      expect(event({ "data" => "plain" }, json: false).data).to eq("data" => "plain")
    end

    it "has the trace context of its publisher" do
      parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      expect(event({ "a" => "1", "traceparent" => parent }).metadata[:traceparent]).to eq(parent)
      expect(event({ "a" => "1", "traceparent" => "no\n" }).metadata).not_to include(:traceparent)
    end
  end

  it "says which field is no JSON, and does not show what is in it" do
    no_json = /\Athe entry has a field payload that is no JSON(: it is no UTF-8)?\z/
    ["{", "", "[" * 200, '{"a":NaN}', "\xFF".b].each do |text|
      expect { event({ "payload" => text }, json: "payload").data }
        .to raise_error(RedisIPC::MalformedEntryError, no_json) { |error|
          expect(error).to have_attributes(stream: "orders", entry_id: "1767225600123-4")
        }
    end
    expect { event({ "other" => "1" }, json: "payload").data }
      .to raise_error(RedisIPC::MalformedEntryError, "the entry has no field payload")
  end

  it "is a Hash that JSON can hold" do
    hash = event({ "room" => "attic", "raw" => "\xFFa".b }, deliveries: 2).to_h
    expect(JSON.parse(JSON.generate(hash))).to eq(
      "source" => "orders", "kind" => "stream", "operation" => "message", "type" => nil, "key" => nil,
      "data" => { "room" => "attic", "raw" => "\uFFFDa" }, "old" => nil, "changes" => nil,
      "position" => "1767225600123-4", "occurred_at" => "2026-01-01T00:00:00.123Z",
      "received_at" => "2026-01-01T00:00:00.200Z", "guarantee" => "at_least_once", "attempt" => 2, "fence" => nil,
      "transaction" => nil, "metadata" => { "fields" => { "room" => "attic", "raw" => "\uFFFDa" } }
    )
  end

  it "is such a Hash whatever bytes its type and its key are" do
    foreign = event({ "event" => "\xFFa".b, "key" => "\xFE".b }, type: "event")
    expect(JSON.parse(JSON.generate(foreign.to_h))).to include("type" => "\uFFFDa", "key" => "\uFFFD")
    expect(foreign.inspect).to include('type "\xFFa" key "\xFE"')
  end

  it "shows no data" do
    expect(event(published).inspect)
      .to eq("#<RedisIPC::ChangeEvent orders 1767225600123-4 type order.created key 7, attempt 1>")
    expect(event({ "secret" => "x" }).inspect).to eq("#<RedisIPC::ChangeEvent orders 1767225600123-4, attempt 1>")
  end

  it "is dumped as a value" do
    copy = Marshal.load(Marshal.dump(event(published, deliveries: 3)))
    expect(copy).to be_frozen.and have_attributes(event(published, deliveries: 3).then do |one|
      { type: one.type, data: one.data, position: one.position, attempt: 3, occurred_at: one.occurred_at }
    end)
  end

  it "can be marked as failed" do
    order = event(published)
    expect(order.failure).to be_nil
    expect(order.fail!("no room").failure)
      .to be_a(RedisIPC::EventFailedError).and have_attributes(message: "no room", entry_id: order.position)
    why = KeyError.new("gone")
    expect(order.fail!(why).failure).to equal(why)
    expect { order.fail!(nil) }.to raise_error(ArgumentError, /an Exception or a String, got a NilClass/)
  end
end
