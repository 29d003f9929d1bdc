# frozen_string_literal: true

# What runs the handlers of a consumer: threads, fibers, forked processes.
RSpec.describe "the executors of events" do
  let(:got) { Queue.new }

  def pending
    redis.xpending("orders", "billing")["size"]
  end

  def next_ones(count)
    Array.new(count) { next_of(got) }
  end

  def publish_all(data)
    RedisIPC::Events.publish_all("orders", data.map { |one| { data: one } }, redis_options: redis_options)
  end

  def executors
    RedisIPC::Events.const_get(:Executors)
  end

  describe "handle what was taken together" do
    let(:setup) { Struct.new(:batch, :ordered?) }
    let(:delivery) { ->(_, event) { (got << event) && event != 2 } }
    let(:intake) { instance_double(executors.const_get(:Intake), stopping?: false) }

    def handle(ordered)
      executors::Handling.new(setup.new(nil, ordered), delivery).call(nil, [1, 2, 3], intake)
    end

    it "to the end, if there is no order" do
      expect(handle(false)).to be(true)
      expect(next_ones(3)).to eq([1, 2, 3])
    end

    it "up to the first that is not done, if there is one" do
      expect(handle(true)).to be(false)
      expect(next_ones(2)).to eq([1, 2])
      expect(got).to be_empty
    end

    it "until the consumer stops" do
      allow(intake).to receive(:stopping?).and_return(false, true)
      expect(handle(false)).to be(false)
      expect(got.size).to eq(1)
    end
  end

  describe "threads" do
    it "are replaced when they are killed, and their event is tried again" do
      kept = got
      consume(concurrency: { threads: 1 }) do |event|
        kept << [event.data, event.attempt]
        Thread.current.kill if event.attempt == 1
      end
      publish(1)
      expect(next_ones(2)).to eq([[1, 1], [1, 2]])
      eventually { pending.zero? }
    end
  end
end
