# frozen_string_literal: true

require_relative "../tasks/extension"

# Methods of the border's wrappers (entry.rs, gvl.rs) that panic or are interrupted. failpoint.rs has panics in the
# threads of the core.
RSpec.describe "the border" do
  before(:all) do
    extension = Extension.new
    extension.compile("--quiet", "--example", "failpoints")
    @library = File.join(Dir.mktmpdir("redis_ipc_failpoints"), "failpoints.so")
    FileUtils.cp(File.join(extension.target, "release/examples/libfailpoints.so"), @library)
  end

  after(:all) { FileUtils.remove_entry(File.dirname(@library)) if @library }

  # Runs a script in a process of its own, because a failure may kill that.
  def drill(script)
    process = ruby(<<~RUBY)
      $stderr.reopen(File::NULL)
      require "timeout"
      require #{@library.inspect}
      #{script}
    RUBY
    line = process.line
    expect(process.wait).to be_success
    line
  end

  %w[here waiting elsewhere].each do |place|
    it "turns a panic into an InternalError: #{place}" do
      said = drill(<<~RUBY)
        raised = begin
          Failpoints.#{place}
        rescue StandardError => e
          e
        end
        puts "\#{raised.class}: \#{raised.message}"
      RUBY
      expect(said).to eq("RedisIPC::InternalError: a defect of redis_ipc (please report it): #{place}")
    end
  end

  it "keeps the thread of a panic and the others running" do
    said = drill(<<~RUBY)
      threads = Array.new(8) do
        Thread.new do
          Array.new(50) do
            Failpoints.waiting
          rescue RedisIPC::InternalError
            1
          end.sum
        end
      end
      puts threads.sum(&:value)
    RUBY
    expect(said).to eq("400")
  end

  it "survives a panic in what interrupts a wait: the wait ends by itself" do
    said = drill(<<~RUBY)
      interrupted = begin
        Timeout.timeout(0.05) { Failpoints.unblocking(500) }
      rescue Timeout::Error => e
        e.class
      end
      puts interrupted
    RUBY
    expect(said).to eq("Timeout::Error")
  end

  # Otherwise `connect` would leave an engine behind that nobody closes.
  it "undoes work that ends in the moment in which its caller is interrupted" do
    said = drill(<<~RUBY)
      thread = Thread.new { Failpoints.claim }
      thread.report_on_exception = false
      Thread.pass until thread.stop?
      thread.raise("interrupted")
      Failpoints.end_claimed
      Timeout.timeout(5) { sleep 0.01 until Failpoints.unclaimed == 1 }
      puts [(thread.value rescue $!.message), Failpoints.unclaimed].inspect
    RUBY
    expect(said).to eq('["interrupted", 1]')
  end

  it "catches a panic in every method that Ruby calls: each is defined by way of entry.rs" do
    definitions = Dir[File.expand_path("../ext/redis_ipc/src/**/*.rs", __dir__)].flat_map do |file|
      File.read(file).scan(/\b(?:method|function)!\([^)]*\)/)
    end
    expect(definitions.grep_v(/!\(entry::/)).to eq([])
    expect(definitions.size).to be > 20
  end
end
