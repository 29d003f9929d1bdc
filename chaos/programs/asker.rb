# frozen_string_literal: true

# An asking process: some threads that ask one call after the other, and one that asks at fixed times whatever became
# of the calls before. It keeps books of its own; what the gem counts is only compared with them.

require "redis_ipc"
require "securerandom"
require_relative "../journal"
require_relative "../watch"

settings = JSON.parse(ARGV.fetch(0), symbolize_names: true)
JOURNAL = Chaos::Journal.new(settings[:journal])
TIMEOUT = settings[:timeout]
# A user's program, too, would not ask again at once after an error.
PAUSE = 0.02

STREAM = RedisIPC::Stream.new("house", settings[:group])
STREAM.on_error { |error| JOURNAL.told(error) }
STREAM.connect(redis_options: settings[:redis_options])

# How a call ended, in one word or two.
def kind_of(question)
  response = yield
  return "rejected #{response.error}" if response.rejected?
  return "mixed_up" unless response.content.values_at(:id, :echo) == question.values_at(:id, :nonce)

  "answered"
rescue RedisIPC::TimeoutError => e
  "timed_out #{e.outcome}"
rescue RedisIPC::CallError => e
  "failed #{e.class.name.split("::").last} #{e.outcome}"
end

def question(number, thread)
  { id: "#{Process.pid}/#{thread}/#{number}", nonce: SecureRandom.hex(4) }
end

def ask_in_turn(thread, pause)
  (0..).each do |number|
    break if $stop

    question = question(number, thread)
    JOURNAL.asked(question[:id])
    kind = kind_of(question) { STREAM.send_to_group(content: question, to: "answerer", timeout: TIMEOUT) }
    JOURNAL.ended(question[:id], kind)
    sleep(kind == "answered" ? pause : PAUSE)
  end
end

def ask_steadily(interval, open)
  (0..).each do |number|
    break if $stop

    question = question(number, "steady")
    JOURNAL.asked(question[:id])
    future = begin
      STREAM.async_send_to_group(content: question, to: "answerer", timeout: TIMEOUT)
    rescue RedisIPC::CallError => e
      e
    end
    future.then { JOURNAL.called_back(question[:id]) } if future.is_a?(RedisIPC::Future)
    open << [question, future]
    sleep interval
  end
  open << nil
end

def collect(open)
  while (question, future = open.pop)
    kind = kind_of(question) { future.is_a?(RedisIPC::Future) ? future.response : raise(future) }
    JOURNAL.ended(question[:id], kind)
  end
end

$stop = false
open = Queue.new
threads = Array.new(settings[:threads]) { |index| Thread.new { ask_in_turn(index, settings[:pause]) } }
threads << Thread.new { ask_steadily(settings[:interval], open) } << Thread.new { collect(open) }
threads.each { |thread| thread.abort_on_exception = true }
watcher = Chaos.watch(STREAM, JOURNAL)

$stdout.puts("ready")
$stdout.flush
$stdin.gets
$stop = true
deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + TIMEOUT + 5
threads.each { |thread| thread.join([deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC), 0].max) }
# Blocks of Future#then run in threads of their own.
sleep 0.1
watcher.kill.join
JOURNAL.stats(STREAM.stats)
STREAM.disconnect(timeout: 1)
