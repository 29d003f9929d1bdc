# frozen_string_literal: true

# Yabeda's gem is not in Debian, so this runs against the part of its API that is used.
RSpec.describe "Yabeda" do
  let(:yabeda) { YabedaDouble.new }
  let(:stream) { SecureRandom.hex }
  let(:tags) { { kind: "request_reply", source: "", stream: stream, group: "child", consumer: "" } }

  before do
    stub_const("Yabeda", yabeda)
    load File.expand_path("../lib/redis_ipc/metrics/yabeda.rb", __dir__)
  end

  it "collects what was counted since it collected last, and what there is now" do
    connect("child", stream: stream, consumer: { pool_size: 2 }, &echo)
    parent = connect("parent", stream: stream)
    2.times { parent.send_to_group(content: 1, to: "child") }
    2.times { yabeda.collect }
    expect(yabeda[:answers_sent_total, tags]).to eq(2)
    expect(yabeda[:calls_total, { **tags, group: "parent", outcome: "fulfilled" }]).to eq(2)
    expect(yabeda[:handlers, tags]).to eq(2)
    parent.send_to_group(content: 1, to: "child")
    streams.each(&:disconnect)
    yabeda.collect
    expect(yabeda[:answers_sent_total, tags]).to eq(3)
    expect(yabeda[:handlers, tags]).to eq(0)
    expect(yabeda[:connected, tags]).to eq(0)
  end
end
