# frozen_string_literal: true

# The core holds no Ruby objects. These examples check what the border makes of JSON, errors and hashes.
RSpec.describe "the garbage collector" do
  # Before version 3.3, after compacting, Ruby reads one value past the end of each thread's stack (docs/internals.md,
  # "Compaction"). It crashes if the memory that this value points to was given back. This keeps all memory.
  def keeping_pages
    RUBY_VERSION < "3.3" ? { RUBY_GC_HEAP_FREE_SLOTS_MAX_RATIO: "1.0" } : {}
  end

  def expect_done(script, **environment)
    tour = "require #{File.expand_path("../soak/tour", __dir__).inspect}"
    process = ruby("$stderr.reopen($stdout)\n#{tour}\n#{script}", **environment)
    expect(process.line(timeout: 110)).to eq("done")
    expect(process.wait).to be_success
    expect(process.rest).to eq("")
  end

  it "may run at every allocation (GC.stress)", timeout: 120 do
    expect_done(<<~RUBY)
      tour = Tour.new
      GC.stress = true
      2.times { tour.run }
      GC.stress = false
      puts "done"
    RUBY
  end

  it "may move every object (auto_compact, verify_compaction_references)", timeout: 120 do
    skip "this Ruby cannot compact" unless GC.respond_to?(:verify_compaction_references)

    expect_done(<<~RUBY, **keeping_pages)
      GC.auto_compact = true
      # Each round needs room to move everything, and doubles the heap.
      larger = RUBY_VERSION < "3.2" ? { double_heap: true } : { expand_heap: true }
      tour = Tour.new(-> { GC.verify_compaction_references(toward: :empty) })
      3.times do
        GC.verify_compaction_references(toward: :empty, **larger)
        tour.run
      end
      puts GC.latest_compact_info[:moved].values.sum.positive? ? "done" : "nothing was moved"
    RUBY
  end

  # Returns by how many bytes the collector's threshold comes closer during the block.
  def told
    GC.start
    GC.disable
    before = GC.stat(:malloc_increase_bytes)
    yield
    GC.stat(:malloc_increase_bytes) - before
  ensure
    GC.enable
  end

  describe "is told of memory outside of Ruby" do
    let(:large) { "x" * 1_000_000 }

    it "that answers take" do
      text = large
      connect("child") { |entry| fulfill_request(entry, content: text) }
      parent = connect("parent")
      responses = []
      expect(told { 10.times { responses << parent.send_to_group(content: 1, to: "child") } }).to be > 10_000_000
      expect(responses.map(&:value)).to all(eq(large))
    end

    it "that requests take" do
      connect("child") { |entry| fulfill_request(entry, content: 1) }
      parent = connect("parent")
      expect(told { 10.times { parent.send_to_group(content: large, to: "child") } }).to be > 10_000_000
    end

    it "that requests of JSON-RPC take, besides what is made of them" do
      rpc_server { |server| server.on("size", &:size) }
      asker = ruby(<<~RUBY)
        options = { redis_options: { path: #{RedisServer.shared.path.inspect} } }
        client = RedisIPC::JSONRPC::Client.new("calculator", **options).connect
        puts "ready"
        gets
        10.times { client.call("size", "x" * 1_000_000) }
        puts "done"
      RUBY
      asker.line
      bytes = told do
        asker.puts("go")
        asker.line
      end
      expect(bytes).to be > 15_000_000
    end
  end
end
