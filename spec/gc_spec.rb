# frozen_string_literal: true

# The core holds no Ruby object; what is looked at here is what the border makes of JSON, errors and hashes.
RSpec.describe "the garbage collector" do
  def expect_done(script)
    process = ruby("$stderr.reopen($stdout)\nrequire #{File.expand_path("../soak/tour", __dir__).inspect}\n#{script}")
    expect(process.line(timeout: 50)).to eq("done")
    expect(process.wait).to be_success
    expect(process.rest).to eq("")
  end

  it "may run at every allocation (GC.stress)" do
    expect_done(<<~RUBY)
      tour = Tour.new
      GC.stress = true
      2.times { tour.run }
      GC.stress = false
      puts "done"
    RUBY
  end

  it "may move every object (auto_compact, verify_compaction_references)" do
    skip "this Ruby cannot compact" unless GC.respond_to?(:verify_compaction_references)

    expect_done(<<~RUBY)
      GC.auto_compact = true
      # With room to move everything to, once for each tour: it doubles the heap.
      larger = RUBY_VERSION < "3.2" ? { double_heap: true } : { expand_heap: true }
      tour = Tour.new(-> { GC.verify_compaction_references(toward: :empty) })
      3.times do
        GC.verify_compaction_references(toward: :empty, **larger)
        tour.run
      end
      puts GC.latest_compact_info[:moved].values.sum.positive? ? "done" : "nothing was moved"
    RUBY
  end
end
