# frozen_string_literal: true

require_relative "../oracle/oracle"

# A short run of bin/oracle. SEED=N uses another schedule.
RSpec.describe "all kinds of calls while everything breaks", timeout: 180 do
  it "get truthful outcomes" do
    run = Oracle::Run.new(Integer(ENV.fetch("SEED", 1)), 30).run
    expect(run.failures).to be_empty, -> { [*run.failures, *run.told, *run.happened].join("\n") }
    expect(run.figures.keys).to eq(Oracle::TRAFFIC.map(&:name))
    expect(run.figures.values).to all(include("answered" => be > 100, "runs" => be > 100))
    expect(run.happened.size).to be > 5
  end

  describe "the schedule" do
    def steps(seed, lane)
      Oracle::Schedule.new(seed).steps(lane).first(30).map { |step| [step.pause, step.fault.name, step.seed] }
    end

    it "is that of the seed" do
      expect(steps(1, :server)).to eq(steps(1, :server))
      expect(steps(1, :server)).not_to eq(steps(2, :server))
      expect(steps(1, :server).map(&:last)).not_to eq(steps(1, :processes).map(&:last))
    end

    it "includes every fault that can be combined" do
      faults = Oracle::Schedule::LANES.flat_map { |lane| Oracle::Schedule.new(1).faults(lane) }
      expect(faults).to match_array(Chaos::Table.faults.reject(&:alone))
    end
  end

  # Checks what the audit reports for journals in which a promise is broken.
  describe "the audit" do
    def audit(lines, once: false, killed: [])
      Dir.mktmpdir("redis_ipc_oracle") do |folder|
        parts = %i[asker answerer].map do |role|
          path = File.join(folder, role.to_s)
          File.write(path, lines.fetch(role).map { |line| "#{line.join("\t")}\n" }.join)
          Oracle::World::Part.new(:worker, nil, role, path)
        end
        traffic = Oracle::Traffic.new(name: "calls", once: once)
        world = double(dead_in: [], killed: killed, askers: [], lost_since?: false)
        Oracle::Audit.new(traffic, Chaos::Books.new(parts), world).failures
      end
    end

    def call(ending, runs: [], stats: {}, id: "1/0/0", **more)
      counted = { requests: 1, fulfilled: 0, rejected: 0, timed_out: 0, failed: 0, overloaded: 0, open_calls: 0 }
      asker = [["asked", 1, id], *Array(ending).map { |kind| ["ended", 2, id, kind] },
               *more.delete(:called_back)&.map { |time| ["called_back", time, id] },
               ["stats", 3, JSON.generate(counted.merge(stats))]]
      audit({ asker: asker, answerer: runs.map { |time| ["ran", time, id] } }, **more)
    end

    it "accepts correct journals" do
      expect(call("answered", runs: [1.5], stats: { fulfilled: 1 })).to be_empty
      expect(call("timed_out unclaimed", stats: { timed_out: 1 })).to be_empty
      expect(call("timed_out unknown", runs: [1.5, 1.7], stats: { timed_out: 1 })).to be_empty
    end

    it "asks for the block of Future#then, but not of a process that was killed in between" do
      steady = { id: "1/steady/0", runs: [1.5], stats: { fulfilled: 1 } }
      expect(call("answered", **steady, called_back: [2.5])).to be_empty
      expect(call("answered", **steady)).to match([/1 had Future#then called wrongly/])
      expect(call("answered", **steady, killed: [:worker])).to be_empty
      expect(call("timed_out unknown", **steady, stats: { timed_out: 1 }, called_back: [2.5], killed: [:worker]))
        .to match([/1 had Future#then called wrongly/])
    end

    it "finds each broken promise" do
      expect(call("timed_out unclaimed", runs: [1.5], stats: { timed_out: 1 })).to match([/1 ran though.*:unclaimed/])
      expect(call("timed_out not_sent", runs: [1.5], stats: { timed_out: 1 })).to match([/1 ran though.*:not_sent/])
      expect(call("failed ConnectionError not_sent", runs: [1.5], stats: { failed: 1 })).to match([/1 ran though/])
      expect(call("timed_out unknown", runs: [1.5, 1.7], stats: { timed_out: 1 }, once: true))
        .to match([/1 ran more than once/])
      expect(call("answered", stats: { fulfilled: 1 })).to match([/1 were answered though no handler ran/])
      expect(call("mixed_up", runs: [1], stats: { fulfilled: 1 })).to match([/1 got the answer of another/])
      expect(call(%w[answered answered], runs: [1], stats: { fulfilled: 1 })).to match([/1 ended twice/])
      expect(call([])).to match([/1 never ended/])
      expect(call("answered", runs: [1])).to match([/the gem counts/])
      expect(call("rejected Oddity", runs: [1], stats: { rejected: 1 })).to match([/no reason known/])
      expect(call("answered", id: "1/notice/0", stats: { fulfilled: 1 })).to match([/1 are notifications that/])
    end
  end
end
