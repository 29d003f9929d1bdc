# frozen_string_literal: true

# A framework has reloaded a consumer class, and the new class takes the place of the old one.
RSpec.describe "a consumer class that is reloaded" do
  let(:got) { Queue.new }

  # @yield defines what differs
  def version(name, group: "billing", **words, &block)
    kept = got
    consumer_class(group: group, **words) do
      define_method(:call) { |event| event.data == "fail" ? raise(KeyError, name) : kept << [name, event.data] }
      class_eval(&block) if block
    end
  end

  def take_over(new, old)
    RedisIPC::Events::Hosting.take_over(new, old, {}).tap { |taken| consumers << new if taken }
  end

  it "runs with what the old one had started, by all new declarations" do
    old = start(version("old") { around_event { |_, handler| handler.call } })
    publish(1)
    expect(next_of(got)).to eq(["old", 1])
    kept = got
    new = version("new") do
      discard_on KeyError
      around_event { |event, handler| (kept << [:around, event.data]) && handler.call }
    end
    expect(take_over(new, old)).to be(true)
    expect([old.running?, new.running?]).to eq([false, true])
    publish(2)
    publish("fail")
    expect([next_of(got), next_of(got), next_of(got)]).to eq([[:around, 2], ["new", 2], [:around, "fail"]])
    eventually { new.stats[:acknowledged] == 3 }
    expect(new.dead_letters).to be_empty
  end

  it "must be restarted if it declares another number of threads; events that the old one holds run the new code" do
    old = start(version("old"))
    new = version("new") { concurrency threads: 2 }
    expect(take_over(new, old)).to be(false)
    expect([old.running?, new.running?]).to eq([true, false])
    publish(1)
    expect(next_of(got)).to eq(["new", 1])
  end

  it "must be restarted if threads have resources of the old one" do
    old = start(version("old") { resource { [] } })
    expect(take_over(version("new") { resource { [] } }, old)).to be(false)
  end

  it "leaves the old one alone if it has another group, or a wrong declaration" do
    old = start(version("old"))
    expect(take_over(version("new", group: "other"), old)).to be(false)
    batches = version("new") { batch size: 2 }
    expect(take_over(batches, old)).to be(false)
    expect { take_over(version("new") { concurrency threads: 0 }, old) }.to raise_error(RedisIPC::ConfigurationError)
    publish(1)
    expect(next_of(got)).to eq(["old", 1])
  end
end
