# frozen_string_literal: true

require "redis_ipc/rails/file_watch"

RSpec.describe "the watch over the files of channels and consumers" do
  let(:files) { Struct.new(:times).new({ "a.rb" => 2 }) }
  let(:reloads) { [0] }
  let(:outdated) { [false] }
  let(:wraps) { [] }
  let(:watch) { RedisIPC::OnRails.const_get(:FileWatch).new(files, "channels", placement) }

  let(:placement) do
    reloads = self.reloads
    outdated = self.outdated
    wraps = self.wraps
    Object.new.tap do |one|
      one.define_singleton_method(:reloads) { reloads.first }
      one.define_singleton_method(:outdated?) { outdated.first }
      one.define_singleton_method(:catch_up) { raise "broken" if outdated.first && wraps.size < 3 }
    end
  end

  before do
    reloader = Object.new
    wraps = self.wraps
    reloader.define_singleton_method(:wrap) { |&block| (wraps << :wrap) && block.call }
    stub_const("Rails", Struct.new(:application, :logger).new(Struct.new(:reloader).new(reloader)))
    # Uses the watch without its thread.
    watch.send(:note, files.times)
  end

  def look(times)
    times.times { watch.send(:look) }
  end

  it "makes Rails check until the channels are reloaded" do
    look(3)
    expect(wraps).to be_empty
    files.times = { "a.rb" => 3 }
    look(2)
    reloads[0] += 1
    look(5)
    expect(wraps.size).to eq(3)
  end

  it "gives up on a change that Rails ignores" do
    files.times = { "a.rb" => 1 }
    look(100)
    expect(wraps.size).to eq(10)
  end

  it "does nothing if a request has reloaded them first" do
    reloads[0] += 1
    files.times = { "a.rb" => 3 }
    look(100)
    expect(wraps.size).to eq(1)
  end

  it "makes Rails check again and again while the code cannot be loaded, and says why once" do
    said = []
    Rails.logger = Object.new.tap { |one| one.define_singleton_method(:error) { |text| said << text } }
    outdated[0] = true
    look(4)
    expect(wraps.size).to eq(4)
    expect(said).to eq(["redis_ipc: the channels cannot be loaded: RuntimeError: broken"])
    outdated[0] = false
    look(2)
    expect(wraps.size).to eq(4)
  end
end
