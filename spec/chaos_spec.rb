# frozen_string_literal: true

require_relative "../chaos/chaos"

# The quick rows of bin/chaos. The bound on recovery is wide here: the suite may run on a busy machine.
RSpec.describe "under load, with the books kept" do
  Chaos::Table.faults.select(&:quick).each do |fault|
    it "survives: #{fault.name}" do
      row = Chaos::Table.run(fault, within: 5, settle: fault.settle > 10 ? 3 : 1.5)
      expect(row).to be_run, -> { row.reason }
      expect(row.failures).to be_empty, -> { [*row.failures, row.figures, *row.seen, row.told].join("\n") }
      expect(row.figures[:answered]).to be > 100
    end
  end

  Chaos::Events::Table.faults.select(&:quick).each do |fault|
    it "survives: #{fault.name}" do
      row = Chaos::Events::Table.run(fault, within: 5, settle: 1.5)
      expect(row).to be_run, -> { row.reason }
      expect(row.failures).to be_empty, -> { [*row.failures, row.figures, row.told].join("\n") }
    end
  end

  # What is said of journals of events in which a promise is broken.
  describe "the books of events" do
    def books(*lines)
      Dir.mktmpdir("redis_ipc_chaos") do |folder|
        journal = File.join(folder, "journal")
        File.write(journal, lines.map { |line| "#{line.join("\t")}\n" }.join)
        Chaos::Events::Books.new([double(journal: journal)])
      end
    end

    def published(id, position)
      ["published", 1, id, "#{position} 0.9"]
    end

    def ran(id, from, to)
      [["began", from, id, "1 7"], ["done", to, id]]
    end

    it "are content with what is right" do
      all = books(published("k/0", "1-0"), published("k/1", "2-0"), *ran("k/0", 2, 3), *ran("k/1", 4, 5),
                  *ran("k/0", 6, 7))
      expect([all.disorder, all.undone, all.reruns]).to eq([[], [], 1])
      expect(all.published.first).to have_attributes(key: "k", number: 0, position: "1-0", sent: 0.9)
    end

    it "see what began before the one before it had ended, and what nobody has handled" do
      all = books(published("k/0", "1-0"), published("k/1", "2-0"), published("k/2", "3-0"), *ran("k/0", 2, 4),
                  *ran("k/1", 3, 5), ["began", 6, "k/2", "1 7"])
      expect(all.disorder.map { |pair| pair.map(&:id) }).to eq([%w[k/0 k/1]])
      expect(all.undone.map(&:id)).to eq(["k/2"])
    end
  end
end
