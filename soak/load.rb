# frozen_string_literal: true

# Runs full load for some minutes, then looks at what it left: ruby -Ilib soak/load.rb [minutes]. One process asks in
# every way, one answers. Each minute the load pauses, and both are measured at rest.

require "io/wait"
require "rbconfig"
require "redis_ipc"
require "timeout"
require_relative "footprint"
require_relative "soak"
require_relative "../spec/support/redis_server"

# The answering process. It answers with the content of the request, or rejects, raises or does nothing if the request
# says so.
class Answerer
  def self.run(path)
    stream = RedisIPC::Stream.new("soak", "answerer")
    stream.on_request do |entry|
      case entry.content
      when "reject" then reject_request(entry, content: "rejected")
      when "raise" then raise "raised"
      when "silence" then nil
      else fulfill_request(entry, content: entry.content)
      end
    end
    stream.on_error { |error| warn error.message unless error.message == "raised" }
    stream.connect(redis_options: { path: path }, consumer: { pool_size: 4 })
    puts "ready"
    puts Footprint.line while $stdin.gets
    stream.disconnect
  end
end

# The process that asks, measures and judges.
class LoadSoak
  include Soak

  SIZES = [1, 100, 10_000, 300_000].freeze
  TEXTS = SIZES.map { |size| "x" * size }.freeze
  # The kinds of calls that each asking thread makes in turn. Each returns its result.
  KINDS = %i[call call call sizes batch rejecting failing silent interrupted chain].freeze
  THREADS = 8

  def initialize(minutes)
    @minutes = minutes
    @server = RedisServer.new
    @seen = Hash.new(0)
    @lock = Mutex.new
    @stream = RedisIPC::Stream.new("soak", "asker")
    @stream.on_request { |entry| fulfill_request(entry, content: entry.content) }
    @stream.on_error { |error| see("reported: #{error.class}") }
  end

  def run
    @stream.connect(redis_options: { path: @server.path }, ledger: { entry_timeout: 30 })
    start_answerer
    rows = Array.new(@minutes.ceil) { |minute| minute(minute + 1, [60, (@minutes - minute) * 60].min) }
    judge(rows)
  ensure
    stop
  end

  private

  def start_answerer
    @answers, output = IO.pipe
    input, @questions = IO.pipe
    command = [RbConfig.ruby, "-I#{File.expand_path("../lib", __dir__)}", __FILE__, "answer", @server.path]
    @pid = Process.spawn(*command, in: input, out: output)
    [input, output].each(&:close)
    answer_of_answerer
  end

  def answer_of_answerer
    raise "the answerer says nothing" unless @answers.wait_readable(60)

    @answers.gets.to_s
  end

  def minute(number, seconds)
    before = @seen.values.sum
    load(seconds)
    row = { minute: number, calls: @seen.values.sum - before, asker: Footprint.at_rest, answerer: answerer,
            redis: @server.client.info("memory")["used_memory"].to_i / 1024 }
    show(row)
  end

  def load(seconds)
    stop_at = now + seconds
    threads = Array.new(THREADS) { |index| Thread.new { ask_until(stop_at, index) } }
    threads << Thread.new { fork_until(stop_at) }
    threads.each(&:join)
  end

  def ask_until(stop_at, turn)
    while now < stop_at
      kind = KINDS[(turn += 1) % KINDS.size]
      Array(send(kind)).tally.each { |seen, count| see(seen, count) }
    end
  end

  def call
    echo(rand(1_000_000))
  end

  def sizes
    TEXTS.map { |text| echo(text) }
  end

  def batch
    futures = Array.new(50) { |index| [index, ask_async(index)] }
    futures.map { |index, future| future.value == index ? :right : "WRONG" }
  end

  def chain
    [ask_async(20).then { |value| value + 1 }.value == 21 ? :right : "WRONG"]
  end

  def rejecting
    ask("reject").reason == "rejected" ? :rejected : "WRONG"
  end

  def failing
    ask("raise").error == "RuntimeError" ? :raised : "WRONG"
  end

  def silent
    ask("silence", timeout: 0.02)
  rescue RedisIPC::TimeoutError
    :timed_out
  end

  def interrupted
    Timeout.timeout(0.02) { ask("silence") }
  rescue Timeout::Error
    :interrupted
  end

  def echo(content)
    ask(content).value == content ? :right : "WRONG"
  end

  def ask(content, timeout: nil)
    @stream.send_to_group(content: content, to: "answerer", timeout: timeout)
  end

  def ask_async(content)
    @stream.async_send_to_group(content: content, to: "answerer")
  end

  # Forks a child each second, which calls and ends.
  def fork_until(stop_at)
    while now < stop_at
      pid = fork { exit!(Array.new(3) { call } == [:right] * 3 ? 0 : 1) }
      see(Process.wait2(pid).last.success? ? :forked : "WRONG in a child")
      sleep 1
    end
  end

  def see(what, count = 1)
    @lock.synchronize { @seen[what] += count }
  end

  def answerer
    @questions.puts
    Footprint.parse(answer_of_answerer)
  end

  def show(row)
    if row[:minute] == 1
      puts "minute    calls  asker: MiB used threads files  answerer: MiB used threads files  Redis: KiB"
    end
    parts = [row[:minute], row[:calls], *row.values_at(:asker, :answerer).flat_map(&:values), row[:redis]]
    puts parts.zip([6, 9, 12, 5, 8, 6, 15, 5, 8, 6, 12]).map { |part, width| part.to_s.rjust(width) }.join
    row
  end

  def judge(rows)
    stats = @stream.stats
    puts "seen: #{@seen}"
    puts "stats: #{stats.reject { |_, count| count.zero? }}"
    wrong = @seen.keys.grep(/WRONG|reported/)
    wrong << "calls are left open" unless stats[:open_calls].zero?
    wrong << "the books are wrong" unless stats[:requests] == books(stats)
    %i[asker answerer].each { |side| wrong.concat(Footprint.growth(side, rows.first[side], rows.last[side])) }
    conclude(wrong)
  end

  def books(stats)
    stats.values_at(:fulfilled, :rejected, :timed_out, :failed, :cancelled, :open_calls).sum
  end

  def stop
    @stream.disconnect
    @questions&.close
    Process.wait(@pid) if @pid
    @server.stop
  end
end

$stdout.sync = true
if ARGV.first == "answer"
  Answerer.run(ARGV.last)
else
  status = LoadSoak.new(Float(ARGV.fetch(0, 10))).run
  exit(status)
end
