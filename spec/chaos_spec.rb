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
end
