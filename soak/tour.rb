# frozen_string_literal: true

require "redis_ipc"

# Runs everything that the border does once: contents of every kind in both directions, rejections, exceptions, errors
# of the core, callbacks, listings. It is for runs under observation (the garbage collector, valgrind), and ends the
# process if an answer is wrong. The server is REDIS_URL.
class Tour
  # Becomes JSON by a method of its own.
  class Thing
    def as_json(*)
      { thing: [1, "two"] }
    end
  end

  # Contents, and the objects that arrive.
  CONTENTS = [
    nil, true, 2**70, -1.5, "ünï", "x" * 20_000, [[[]], [1, [2]]], { a: { b: [nil, "c"] } },
    Array.new(10) { |index| { "key#{index}": index.to_s } }
  ].to_h { |content| [content, content] }.merge(symbol: "symbol", Thing.new => Thing.new.as_json).freeze

  # @param between [Proc] called between the steps
  def initialize(between = -> {})
    @between = between
    @told = Queue.new
    @stream = RedisIPC::Stream.new("tour", "both")
    tour = self
    @stream.on_request { |entry| tour.answer(entry) }
    @stream.on_error { |error| tour.tell(error) }
  end

  # Runs the tour from connect to disconnect.
  def run
    @stream.connect(ledger: { entry_timeout: 60 }, consumer: { lease: 10 })
    CONTENTS.each { |content, expected| step { check(content, ask(content).value, expected) } }
    %i[reject fail call_back time_out refuse list].each { |name| step { send(name) } }
    @stream.disconnect
  end

  def answer(entry)
    case entry.content
    when "raise" then raise ArgumentError, "raised"
    when "reject" then @stream.reject_request(entry, content: { reason: ["no"] })
    when "silence" then nil
    else @stream.fulfill_request(entry, content: entry.content)
    end
  end

  def tell(error)
    # "silence" is reported at its deadline, which is later.
    @told << error.message unless error.is_a?(RedisIPC::UnansweredError)
  end

  private

  def step
    yield
    @between.call
  end

  def reject
    check("reject", ask("reject").reason, { reason: ["no"] })
  end

  def fail
    check("raise", ask("raise").error, "ArgumentError")
    check("on_error", @told.pop, "raised")
  end

  def call_back
    future = @stream.async_send_to_group(content: [1], to: "both")
    check("then", future.then { |value| value + [2] }.value, [1, 2])
  end

  def time_out
    ask("silence", timeout: 0.01)
  rescue RedisIPC::TimeoutError => e
    check("timeout", [e.group, @stream.stats[:open_calls]], ["both", 0])
  end

  def refuse
    ask({ a: [Float::NAN] })
  rescue RedisIPC::ContentError => e
    check("content error", e.message.empty?, false)
  end

  def list
    check("instances", @stream.instances.map { |row| row[:instance_id] }, [@stream.instance_id])
  end

  def ask(content, timeout: nil)
    @stream.send_to_group(content: content, to: "both", timeout: timeout)
  end

  def check(what, seen, expected)
    abort "#{what}: #{seen.inspect} instead of #{expected.inspect}" unless seen == expected
  end
end
