# frozen_string_literal: true

require "redis_ipc"
require "securerandom"
require_relative "../journal"
require_relative "../watch"

# An asking process: some threads that ask one call after the other, and one that asks at fixed times whatever became
# of the calls before. It keeps books of its own; what the gem counts is only compared with them.
class Asker
  # After an error a user's program, too, would not ask again at once.
  PAUSE = 0.02

  def initialize(settings)
    @settings = settings
    @journal = Chaos::Journal.new(settings[:journal])
    @open = Queue.new
  end

  def connect
    @stream = RedisIPC::Stream.new("house", @settings[:group])
    @stream.on_error(&@journal.method(:told))
    @stream.connect(redis_options: @settings[:redis_options])
    @watcher = Chaos.watch(@stream, @journal)
  end

  def start
    @threads = Array.new(@settings[:threads]) { |index| Thread.new { ask_in_turn(index) } }
    @threads << Thread.new { ask_steadily } << Thread.new { collect }
    @threads.each { |thread| thread.abort_on_exception = true }
  end

  # Lets the open calls end. Those that do not are missing in the journal.
  def finish
    @stop = true
    deadline = now + @settings[:timeout] + 5
    @threads.each { |thread| thread.join([deadline - now, 0].max) }
    # Blocks of Future#then run in threads of their own.
    sleep 0.1
    @watcher.kill.join
    @journal.stats(@stream.stats)
    @stream.disconnect(timeout: 1)
  end

  private

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def questions(thread)
    (0..).each do |number|
      break if @stop

      question = { id: "#{Process.pid}/#{thread}/#{number}", nonce: SecureRandom.hex(4) }
      @journal.asked(question[:id])
      yield question, { content: question, to: "answerer", timeout: @settings[:timeout] }
    end
  end

  def ask_in_turn(thread)
    questions(thread) do |question, call|
      kind = kind_of(question) { @stream.send_to_group(**call) }
      @journal.ended(question[:id], kind)
      sleep(kind == "answered" ? @settings[:pause] : PAUSE)
    end
  end

  def ask_steadily
    questions("steady") do |question, call|
      @open << [question, future(question, call)]
      sleep @settings[:interval]
    end
    @open << nil
  end

  def future(question, call)
    @stream.async_send_to_group(**call).tap { |future| future.then { @journal.called_back(question[:id]) } }
  rescue RedisIPC::CallError => e
    e
  end

  def collect
    while (question, future = @open.pop)
      kind = kind_of(question) { future.is_a?(RedisIPC::Future) ? future.response : raise(future) }
      @journal.ended(question[:id], kind)
    end
  end

  # How a call ended, in a few words.
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
end

asker = Asker.new(JSON.parse(ARGV.fetch(0), symbolize_names: true))
asker.connect
asker.start
$stdout.puts("ready")
$stdout.flush
$stdin.gets
asker.finish
