# frozen_string_literal: true

RSpec.describe "a pool of threads" do
  # Names are not to be had: it is no part of the API.
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

  # What looks at all objects (a profiler, a test) asks their classes for their names.
  it "has a class that says its name, as all of ours do" do
    ours = ObjectSpace.each_object(Module).to_h { |one| [one, Module.instance_method(:name).bind_call(one)] }
    ours = ours.select { |_, name| name.to_s.start_with?("RedisIPC") }
    expect(ours).to include(pool_class)
    expect(ours.to_h { |one, _| [one, one.name] }).to eq(ours)
  end

  # One of its threads waits for what the others are to do, until its gate opens. Returns that thread's name.
  def wait_in(name)
    gate = gates[name]
    jobs << -> { pool_class.wait_in_turn { (begun << Thread.current.name) && gate.pop } }
    next_of(begun)
  end

  def release(name)
    gates[name] << true
  end

  it "has its size again when all that waited are back, whichever comes back first" do
    waiting = %i[a b c].to_h { |name| [name, wait_in(name)] }
    eventually { alive.size == 4 }
    first, second = waiting.min_by(2) { |_, thread| thread }.map(&:first)
    # One too many now: the second one goes.
    release(first)
    release(second)
    eventually { alive.size == 3 }
    # The numbers of those that stayed are 1 or 2, and 3 and 4. One more is needed when all of them wait.
    %i[d e].each { |name| wait_in(name) }
    eventually { alive.size == 4 }
    expect(alive.map(&:name).uniq.size).to eq(4)
    (waiting.keys - [first, second] + %i[d e]).each { |name| release(name) }
    eventually { alive.size == 2 }
  end
end
