# frozen_string_literal: true

# Consumes a stream that is there already, in order by key: ruby -Ilib soak/backlog.rb [entries] [seconds]. Two
# processes consume. Every so many seconds (10) one of them is killed, and replaced. In the end the books are compared.

require "tmpdir"
require_relative "event_processes"

# Makes the stream, starts the processes and judges.
class Backlog < EventProcesses::Run
  # Seconds in which at least one event must be handled.
  PATIENCE = 60

  def initialize(entries, kill_every, folder)
    super(folder)
    @entries = entries
    @kill_every = kill_every
  end

  def run
    fill
    began = now
    @consumers = Array.new(2) { consumer }
    consume
    show(now - began)
  ensure
    @consumers&.each(&:finish)
    @server.stop
  end

  private

  def fill
    (0...@entries).step(1_000) do |from|
      events = EventProcesses.events(from, [1_000, @entries - from].min)
      RedisIPC::Events.publish_all(EventProcesses::STREAM, events, redis_options: { path: @server.path })
    end
  end

  def consume
    killed_at = changed = now
    while @books.handled < @entries && now - changed < PATIENCE
      before = @books.handled
      sleep 0.1
      @books.add(@files)
      changed = now if @books.handled > before
      next if now - killed_at < @kill_every

      kill_one
      killed_at = now
    end
  end

  # The older one is killed, so that both are in turn.
  def kill_one
    @consumers.shift.kill
    @killed += 1
    @consumers << consumer
  end

  def show(seconds)
    puts "#{@entries} entries of #{EventProcesses::KEYS} keys were consumed in #{seconds.round(1)} s " \
         "(#{(@books.handled / seconds).round}/s). #{@killed} processes were killed. " \
         "Handled: #{@books.handled}, handled again: #{@books.reruns}, out of order: #{@books.wrong.size}"
    wrong = @books.wrong.first(5)
    wrong << "#{@entries - @books.handled} are missing" if @books.handled != @entries
    conclude(wrong)
  end
end

$stdout.sync = true
status = Dir.mktmpdir("redis_ipc_soak") do |folder|
  Backlog.new(Integer(ARGV.fetch(0, 1_000_000)), Float(ARGV.fetch(1, 10)), folder).run
end
exit(status)
