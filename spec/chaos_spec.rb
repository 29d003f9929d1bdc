# frozen_string_literal: true

require_relative "../chaos/chaos"
require_relative "../chaos/live/storm"

# The quick rows of bin/chaos. The bound on recovery is wide here, because the suite may run on a busy machine.
RSpec.describe "under load, with a journal" do
  Chaos::Table.faults.select(&:quick).each do |fault|
    it "survives: #{fault.name}" do
      row = Chaos::Table.run(fault, within: 5, settle: fault.settle > 10 ? 3 : 1.5)
      expect(row).to be_run, -> { row.reason }
      expect(row.failures).to be_empty, -> { [*row.failures, row.figures, *row.seen, row.told].join("\n") }
      expect(row.figures[:answered]).to be > 100
    end
  end

  [Chaos::Events::Table, Chaos::Wal::Table].each do |table|
    table.faults.select(&:quick).each do |fault|
      it "survives: #{fault.name}" do
        row = table.run(fault, within: 5, settle: 1.5)
        expect(row).to be_run, -> { row.reason }
        expect(row.failures).to be_empty, -> { [*row.failures, row.figures, row.told].join("\n") }
      end
    end
  end

  Chaos::Live::Table.faults.select(&:quick).each do |fault|
    it "survives: #{fault.name}" do
      row = Chaos::Live::Table.run(fault, within: 5, times: 3, calm: 1)
      expect(row).to be_run, -> { row.reason }
      expect(row.failures).to be_empty
      expect(row.figures[:missing]).to be_positive
    end
  end

  describe "the books of live events" do
    let(:fault) { Chaos::Live::Table.faults.find(&:quick) }

    # What a fault did once, if all is well.
    def outcome(**more)
      Chaos::Live::Outcome.new(calm: false, missing: 2, outside: 0, bounds: [2], exact: false, reconnections: 1,
                               back: 0.1, gap: 0.1, disorder: 0, again: 0, **more)
    end

    def row(*outcomes, **more)
      Chaos::Live::Row.new(Chaos::Live::Fault.new(**fault.to_h, **more), outcomes)
    end

    it "accepts a correct journal" do
      all = row(outcome, outcome(missing: 0, bounds: []), outcome(calm: true, missing: 0, bounds: [], back: nil))
      expect(all.failures).to be_empty
      expect(all.figures).to eq(times: 3, missing: 2, told: 2, unbounded: 0, median: "1.00", worst: "1.00",
                                back_ms: 100, gap_ms: "-")
    end

    { "3 were missing, told were at most 2" => { missing: 3, bounds: [1, 1] },
      "3 were missing, told were at most 0" => { missing: 3, bounds: [] },
      "3 were missing, told were exactly 4" => { missing: 3, bounds: [4], exact: true },
      "nothing could be missing, told were [1]" => { calm: true, missing: 0, bounds: [1] },
      "1 times told without a bound" => { bounds: [2, nil] },
      "told 2.50 for one that was missing (median)" => { bounds: [5] },
      "1 times it broke no connection" => { reconnections: 0 },
      "back after 501 ms" => { back: 0.5009 },
      "2 missing at another time than was told" => { outside: 2 },
      "1 out of order" => { disorder: 1 },
      "2 handled again" => { again: 2 } }.each do |failure, wrong|
      it "see #{wrong}" do
        expect(row(outcome(**wrong)).failures).to eq([failure])
      end
    end

    it "see what is told where nothing is lost, and a channel without messages" do
      expect(row(outcome(missing: 0, bounds: [nil]), lossless: true, counted: false).failures)
        .to eq(['nothing could be missing, told were ["?"]'])
      expect(row(outcome(gap: 1.2), gap: 1.0).failures).to eq(["no message for 1200 ms"])
    end

    it "see what is handled twice, in another order, or late" do
      source = double(line_of: 0, prompt?: true)
      books = Chaos::Live::Books.new(source)
      [1, 3, 2, 2].each { |number| books.handled(number) }
      expect(books.include?(3)).to be(true)
      published = [1, 2, 3, 4].to_h { |number| [number, Time.at(number)] }
      expect(books.conclude(published))
        .to eq(missing: 1, outside: 1, bounds: [], exact: true, disorder: 1, again: 1)
      books.handled(4)
      expect(books.conclude({})).to include(missing: 0, again: 0)
    end

    it "see what is missing at a time that was not told" do
      books = Chaos::Live::Books.new(double(line_of: nil, prompt?: true))
      told = lambda do |from, to, exact|
        RedisIPC::Loss.new(since_ms: from, until_ms: to, exact: exact, source: "", node: "")
      end
      published = { 1 => Time.at(1), 2 => Time.at(2) }
      { [1500, 2500, false] => 1, [500, 2500, false] => 0, [1000, 1500, false] => 1, [1500, 1600, true] => 0 }
        .each do |loss, outside|
        books.lost(told.call(*loss))
        expect(books.conclude(published)).to include(missing: 2, outside: outside)
      end
    end

    it "choose the same faults at random by the same seed" do
      names = lambda do |seed|
        list = []
        scene = double(once: outcome).as_null_object
        allow(Chaos::Live::Scene).to receive(:new).and_return(scene)
        Chaos::Live::Storm.new(Chaos::Live::Table.faults, count: 20, seed: seed).run { |name| list << name }
        list
      end
      expect(names.call(7)).to eq(names.call(7))
      expect(names.call(7)).not_to eq(names.call(8))
    end
  end

  # Checks what is reported for journals of events in which a promise is broken.
  describe "the check of a journal of events" do
    def books(*lines, kind: Chaos::Events::Books)
      Dir.mktmpdir("redis_ipc_chaos") do |folder|
        journal = File.join(folder, "journal")
        File.write(journal, lines.map { |line| "#{line.join("\t")}\n" }.join)
        kind.new([double(journal: journal)])
      end
    end

    def published(id, position)
      ["published", 1, id, "#{position} 0.9"]
    end

    def ran(id, from, to)
      [["began", from, id, "1 7"], ["done", to, id]]
    end

    it "accepts a correct journal" do
      all = books(published("k/0", "1-0"), published("k/1", "2-0"), *ran("k/0", 2, 3), *ran("k/1", 4, 5),
                  *ran("k/0", 6, 7))
      expect([all.disorder, all.undone, all.reruns]).to eq([[], [], 1])
      expect(all.published.first).to have_attributes(key: "k", number: 0, position: "1-0", sent: 0.9)
    end

    it "finds events that overlap, and events that nobody has handled" do
      all = books(published("k/0", "1-0"), published("k/1", "2-0"), published("k/2", "3-0"), *ran("k/0", 2, 4),
                  *ran("k/1", 3, 5), ["began", 6, "k/2", "1 7"])
      expect(all.disorder.map { |pair| pair.map(&:id) }).to eq([%w[k/0 k/1]])
      expect(all.undone.map(&:id)).to eq(["k/2"])
    end

    it "see what was confirmed to PostgreSQL before it was handled" do
      all = books(published("k/0", "1-0"), published("k/1", "2-0"), ["committed", 2, "k/0", "100 0"],
                  ["committed", 2, "k/1", "200 0"], *ran("k/0", 2, 4), *ran("k/1", 4, 6), kind: Chaos::Wal::Books)
      early = ->(confirmed) { all.confirmed_early(confirmed, Float::INFINITY).map(&:id) }
      expect(early.call([[3.0, 100], [5.0, 101], [7.0, 201]])).to eq([])
      expect(early.call([[3.0, 101], [5.0, 201]])).to eq(%w[k/0 k/1])
    end
  end
end
