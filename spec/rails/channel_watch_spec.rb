# frozen_string_literal: true

require "redis_ipc/rails/channel_watch"

RSpec.describe "the watch over channels' files" do
  let(:files) { Struct.new(:times).new({ "a.rb" => 2 }) }
  let(:reloads) { [0] }
  let(:wraps) { [] }
  let(:watch) { RedisIPC::OnRails.const_get(:ChannelWatch).new(files) { reloads.first } }

  before do
    reloader = Object.new
    wraps = self.wraps
    reloader.define_singleton_method(:wrap) { |&block| block.call.tap { wraps << :wrap } }
    stub_const("Rails", Struct.new(:application, :logger).new(Struct.new(:reloader).new(reloader)))
    # Without its thread.
    watch.send(:note, files.times)
  end

  def look(times)
    times.times { watch.send(:look) }
  end

  it "lets Rails look until the channels are reloaded" do
    look(3)
    expect(wraps).to be_empty
    files.times = { "a.rb" => 3 }
    look(2)
    reloads[0] += 1
    look(5)
    expect(wraps.size).to eq(3)
  end

  it "gives a change up that Rails does not count" do
    files.times = { "a.rb" => 1 }
    look(100)
    expect(wraps.size).to eq(10)
  end

  it "is content if a request has reloaded them first" do
    reloads[0] += 1
    files.times = { "a.rb" => 3 }
    look(100)
    expect(wraps.size).to eq(1)
  end
end
