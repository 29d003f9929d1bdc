# frozen_string_literal: true

require "csv"
require "open3"
require "tmpdir"

RSpec.describe "the benchmarks" do
  program = File.expand_path("../bench/bench.rb", __dir__)

  define_method(:bench) { |*arguments| Open3.capture2e(RbConfig.ruby, program, *arguments) }

  it "list their cases and peers" do
    output, status = bench("--list")
    expect(status).to be_success, output
    expect(output).to match(/^lone +One caller.*\[gem, streams, .*floor\]$/).and match(/^grpc +gRPC$/)
  end

  it "refuse unknown cases and peers" do
    expect(bench("--only", "nothing").first).to eq("unknown case nothing; see --list\n")
    expect(bench("--peers", "carrier pigeon").last).not_to be_success
  end

  it "list the cases of events, and refuse others" do
    output, status = bench("events", "--list")
    expect(status).to be_success, output
    expect(output).to match(/^key_2k_batch +Events of 2 KiB in order by key, in batches of 500  \[thread, threads_5/)
    expect(bench("events", "lone").first).to eq("unknown case lone; see --list\n")
  end

  it "measure consumers of events beside a plain loop, and keep every figure and a chart" do
    Dir.mktmpdir do |folder|
      output, status = bench("events", "--seconds", "0.2", "--warm-up", "0.1", "--rounds", "1", "none_200b", "key_200b",
                             "latency", "--peers", "thread,redis_rb_batch", "--output", File.join(folder, "results"))
      expect(status).to be_success, output
      expect(output).to match(/^\| redis_ipc, 1 thread \| [\d,.]+ \| [\d,.]+ \|/)
                    .and match(/^\| 200 B, one thread, events.s, beside the best plain Ruby loop .*x \|/)
      figures = CSV.read(File.join(folder, "results.csv"), headers: true).reject { |row| row["case"] == "surroundings" }
      expect(figures.map { |row| row.values_at("case", "peer", "metric") }).to include(
        %w[none_200b thread cpu_us], %w[none_200b redis_rb_batch events_s], %w[key_200b thread events_s],
        %w[latency thread ack_p99_us]
      )
      expect(figures.map { |row| row["value"].to_f }).to all(be_positive)
      expect(File.read(File.join(folder, "results.svg"))).to include("<svg", "Events of 200 B", "redis_ipc, 1 thread")
    end
  end

  it "measure subscribers beside a plain one" do
    Dir.mktmpdir do |folder|
      peers = "subscriber,subscriber_batch,redis_rb_subscriber"
      output, status = bench("live", "--seconds", "0.02", "--rounds", "1", "--peers", peers, "channels", "shards_3",
                             "--output", File.join(folder, "results"))
      expect(status).to be_success, output
      expect(output).to match(/^### 100 channels, messages of 200 B/).and match(/^### 3 channels of shards, over three/)
                    .and match(/^\| 1 channel, one thread, messages.s, beside redis-rb \| at least 3.0x \| .*x \|/)
                    .and match(/^\| redis_ipc, 1 thread, batches of 500 \| [\d,.]+ \| [\d,.]+ \|/)
      expect(File.read(File.join(folder, "results.svg"))).to include("<svg", "100 channels", "Ruby, redis-rb")
    end
  end

  it "measure consumers of PostgreSQL's log beside pg_recvlogical" do
    skip Databases::Cluster.missing if Databases::Cluster.missing
    Dir.mktmpdir do |folder|
      output, status = bench("wal", "--seconds", "0.1", "--rounds", "1", "rows", "forward", "--peers",
                             "wal,wal_batch,pg_recvlogical", "--output", File.join(folder, "results"))
      expect(status).to be_success, output
      expect(output).to match(/^\| redis_ipc, 1 thread, batches of 500 \| [\d,.]+ \| [\d,.]+ \|/)
                    .and match(%r{^\| pg_recvlogical to /dev/null \| [\d,.]+ \|})
                    .and match(/^\| Into 16 partitions \| [\d,.]+ \| [\d,.]+ \|/)
                    .and match(/^\| Into a stream, the key from a callable \| [\d,.]+ \| [\d,.]+ \|/)
      expect(File.read(File.join(folder, "results.svg"))).to include("<svg", "Rows of 200 B", "pg_recvlogical")
    end
  end

  it "measure a case, and keep every figure and a chart" do
    Dir.mktmpdir do |folder|
      output, status = bench("--quick", "--seconds", "1", "--only", "threads_16", "--peers", "gem", "--output",
                             File.join(folder, "results"))
      expect(status).to be_success, output
      expect(output).to match(/^\| redis_ipc \| [\d,.]+ \|/)
      figures = CSV.read(File.join(folder, "results.csv"), headers: true).select { |row| row["case"] == "threads_16" }
      expect(figures.map { |row| row["metric"] }).to include("calls_s", "p99_us", "commands", "answerer_cpu_us")
      expect(figures.map { |row| row["value"].to_f }).to all(be_positive)
      expect(File.read(File.join(folder, "results.svg"))).to include("<svg", "16 threads, calls/s", "redis_ipc")
    end
  end
end
