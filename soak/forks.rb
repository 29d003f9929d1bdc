# frozen_string_literal: true

# Forks while 16 threads send and receive in the parent: ruby -Ilib soak/forks.rb [count]
# Every child inherits a connected stream with a handler, so it also answers what its parent asks.

require "io/wait"
require "redis_ipc"
require_relative "soak"
require_relative "../spec/support/redis_server"

# Forks children by KINDS in turn, a few at a time, and checks the calls of both sides.
class ForkSoak
  include Soak

  THREADS = 16
  AT_ONCE = 4
  # A child that takes longer hangs.
  PATIENCE = 60

  # The work of a child. It returns a description of a failure, or nil. A child that ends without it must only end.
  KINDS = {
    call: ->(soak) { soak.call_from_child },
    exit: ->(_) {},
    exit!: ->(_) { exit!(0) },
    grandchild: ->(soak) { soak.grandchild },
    daemon: ->(soak) { soak.daemon },
    exec: ->(_) { exec("true") },
    threads: ->(soak) { Array.new(4) { Thread.new { soak.call_from_child } }.filter_map(&:value).first },
    kill: ->(soak) { soak.call_from_child || Process.kill(:KILL, Process.pid) },
    disconnect: ->(soak) { soak.call_from_child || (soak.stream.disconnect && nil) }
  }.freeze

  attr_reader :stream

  def initialize(count)
    @count = count
    @server = RedisServer.new
    @wrong = Queue.new
    @calls = Queue.new
    @stream = RedisIPC::Stream.new("soak", "both")
    @stream.on_request { |entry| fulfill_request(entry, content: entry.content) }
    @stream.on_error { |error| warn "#{Process.pid}: #{error.class}: #{error.message}" }
    @parent = Process.pid
  end

  def run
    # Requests of a killed child are taken over after a lease. A short lease makes the load pause less.
    @stream.connect(redis_options: { path: @server.path }, consumer: { pool_size: 4, lease: 0.5 },
                    ledger: { entry_timeout: 30 })
    threads = Array.new(THREADS) { |index| Thread.new { ask_for_ever(index) } }
    started = now
    ended = fork_all
    @stop = true
    threads.each(&:join)
    report(ended, now - started)
  ensure
    @stream.disconnect
    @server.stop
  end

  def call_from_child
    question = [Process.pid, rand]
    answer = @stream.send_to_group(content: question, to: "both").value
    "#{question} was answered with #{answer}" unless answer == question
  end

  def grandchild
    pid = fork { exit!(guarded { call_from_child }.nil? ? 0 : 1) }
    Process.wait(pid)
    call_from_child || ("the grandchild: #{$CHILD_STATUS}" unless Process.last_status.success?)
  end

  # The daemon's parent ends at once, so the daemon's result comes by the pipe only.
  def daemon
    Process.daemon(true, true)
    call_from_child
  end

  private

  def ask_for_ever(index)
    number = 0
    until @stop
      question = [index, number += 1]
      answer = @stream.send_to_group(content: question, to: "both").value
      @wrong << "#{question} was answered with #{answer}" unless answer == question
      @calls << true
    end
  rescue Exception => e # rubocop:disable Lint/RescueException -- nothing may go wrong in the parent
    @wrong << "thread #{index}: #{e.class}: #{e.message}"
  end

  def fork_all
    numbers = Queue.new
    @count.times { |number| numbers << KINDS.keys[number % KINDS.size] }
    numbers.close
    lanes = Array.new(AT_ONCE) { Thread.new { fork_in_turn(numbers) } }
    lanes.flat_map(&:value).tally
  end

  def fork_in_turn(kinds)
    done = []
    while (kind = kinds.pop)
      done << kind if await(kind, *start(kind))
      print "\r#{@count - kinds.size} of #{@count}" if $stdout.tty?
    end
    done
  end

  def start(kind)
    reader, writer = IO.pipe
    pid = fork do
      reader.close
      problem = guarded { KINDS.fetch(kind).call(self) }
      writer.write(problem || "well")
      writer.close
    end
    writer.close
    [pid, reader]
  end

  def guarded
    yield
  rescue Exception => e # rubocop:disable Lint/RescueException -- the parent is to hear of it
    "#{e.class}: #{e.message}"
  end

  def await(kind, pid, reader)
    # Other children may hold a copy of the pipe's other end, so its end tells nothing; only the text counts.
    said = reader.wait_readable(PATIENCE) ? reader.read_nonblock(1000, exception: false) : "it hangs"
    Process.kill(:KILL, pid) if said == "it hangs"
    status = wait_for(pid)
    problem = problem_of(kind, said, status)
    @wrong << "child #{kind}: #{problem}" if problem
    problem.nil?
  ensure
    reader.close
  end

  def wait_for(pid)
    deadline = now + PATIENCE
    until (status = Process.wait2(pid, Process::WNOHANG)&.last)
      if now > deadline
        Process.kill(:KILL, pid)
        return Process.wait2(pid).last
      end
      sleep 0.005
    end
    status
  end

  def problem_of(kind, said, status)
    return "it hung" if said == "it hangs"
    return (status.termsig == 9 ? nil : status.to_s) if kind == :kill
    return status.to_s unless status.success?

    # A child that ends by `exec` or `exit!` prints nothing.
    said unless ["well", nil].include?(said) || (said == :wait_readable)
  end

  def report(ended, seconds)
    stats = @stream.stats
    puts "#{@count} forks in #{seconds.round(1)} s, #{@calls.size} calls of the parent meanwhile"
    KINDS.each_key { |kind| puts format("%<kind>12s %<count>5d well", kind: kind, count: ended.fetch(kind, 0)) }
    puts "the parent: #{stats.slice(:requests, :fulfilled, :timed_out, :failed, :cancelled, :answers_unmatched,
                                    :redelivered, :reconnections, :open_calls)}"
    books_kept = stats[:requests] == stats[:fulfilled] && stats.values_at(:reconnections, :open_calls).sum.zero?
    @wrong << "the books of the parent are wrong" unless books_kept
    @wrong << "the parent has #{children} children left" unless children.zero?
    puts(Array.new(@wrong.size) { @wrong.pop }.tap { |wrong| @failed = wrong.any? })
    @failed || ended.values.sum != @count ? 1 : 0
  end

  def children
    Process.wait(-1, Process::WNOHANG) ? 1 : 0
  rescue Errno::ECHILD
    0
  end
end

$stdout.sync = true
status = ForkSoak.new(Integer(ARGV.fetch(0, 500))).run
exit(status)
