# frozen_string_literal: true

RSpec.describe "a pool of threads" do
  # The constant is private, because it is no part of the API.
  let(:pool_class) { RedisIPC.const_get(:ThreadPool) }
  let(:jobs) { Queue.new }
  let(:begun) { Queue.new }
  let(:gates) { Hash.new { |all, name| all[name] = Queue.new } }
  let(:pool) do
    work = jobs
    pool_class.new("spec", "here") { (job = work.pop) && (job.call || true) }
  end

  before { pool.start(2) }

  after do
    pool.retire
    jobs.close
    gates.each_value(&:close)
    eventually { alive.empty? }
  end

  def alive
    Thread.list.select { |thread| thread.name.to_s.start_with?("redis_ipc spec ") }
  end

  # Tools that visit all objects (a profiler, a test) ask their classes for their names.
  it "has a class that says its name, as all of ours do" do
    ours = ObjectSpace.each_object(Module).to_h { |one| [one, Module.instance_method(:name).bind_call(one)] }
    ours = ours.select { |_, name| name.to_s.start_with?("RedisIPC") }
    expect(ours).to include(pool_class)
    expect(ours.to_h { |one, _| [one, one.name] }).to eq(ours)
  end

  # Lets one of the pool's threads wait until a gate opens. Meanwhile the others stand in for it. Returns that thread's
  # name.
  def wait_in(name)
    gate = gates[name]
    jobs << -> { pool_class.wait_in_turn { (begun << Thread.current.name) && gate.pop } }
    next_of(begun)
  end

  def release(name)
    gates[name] << true
  end

  it "returns to its size when all waiting threads are back, whichever comes first" do
    waiting = %i[a b c].to_h { |name| [name, wait_in(name)] }
    eventually { alive.size == 4 }
    first, second = waiting.min_by(2) { |_, thread| thread }.map(&:first)
    # There is one thread too many now, and the second one ends.
    release(first)
    release(second)
    eventually { alive.size == 3 }
    # The remaining threads have the numbers 1 or 2, and 3 and 4. One more is needed when all of them wait.
    %i[d e].each { |name| wait_in(name) }
    eventually { alive.size == 4 }
    expect(alive.map(&:name).uniq.size).to eq(4)
    (waiting.keys - [first, second] + %i[d e]).each { |name| release(name) }
    eventually { alive.size == 2 }
  end
end
