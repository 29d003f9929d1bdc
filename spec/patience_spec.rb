# frozen_string_literal: true

RSpec.describe "waiting for a Redis that is down" do
  let(:patience) { RedisIPC.const_get(:Patience).new }
  let(:pauses) { [] }
  let(:told) { [] }

  before { allow(patience).to receive(:sleep) { |seconds| pauses << seconds } }

  def fail_for(reason, times)
    times.times { |attempt| patience.failed([reason]) { |text| told << [attempt + 1, text] } }
  end

  it "reports less and less often, and never stops" do
    fail_for("refused", 600)
    expect(told).to eq([1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512].map { |attempt| [attempt, "refused"] })
  end

  it "reports a new error at once, and starts over with it" do
    fail_for("refused", 3)
    fail_for("NOAUTH", 3)
    patience.failed(%w[NOAUTH refused]) { |text| told << [1, text] }
    expect(told).to eq([[1, "refused"], [2, "refused"], [1, "NOAUTH"], [2, "NOAUTH"], [1, "NOAUTH"], [1, "refused"]])
    expect(pauses.last).to be <= 0.5
  end

  it "tries less often, too, but never waits long, and not in step with others" do
    fail_for("refused", 40)
    expect(pauses.first(4)).to match([be_between(0.25, 0.5), be_between(0.5, 1), be_between(1, 2), be_between(2, 4)])
    expect(pauses.drop(4)).to all(be_between(2.5, 5))
    expect(pauses.drop(4).uniq.size).to be > 30
  end
end
