# frozen_string_literal: true

# ruby bench/live.rb [--messages N] [--rounds N] [SUBSCRIBER ...]
#
# Measures how many messages a second a subscriber hands to a Ruby (or Python) handler, and how much processor time of
# its process a message takes, by one channel and by 100. Each figure is of a process of its own with a Redis server of
# its own. A script in Redis publishes messages of 200 bytes; the subscriber counts from its first message to its last.
# The subscribers are measured in turn, so that other load of the machine affects all alike; the median of the rounds
# counts.

require "json"
require "optparse"
require "rbconfig"
require_relative "harness/redis_server"
require_relative "../spec/support/peer_packages"

module Bench
  # Programs that subscribe, count messages, and print the seconds and the processor time that they took. `CHANNELS` and
  # `MESSAGES` are replaced.
  module Subscribers
    ENDING = <<~RUBY
      clock = ->(kind) { Process.clock_gettime(kind) }
      wall, cpu = Process::CLOCK_MONOTONIC, Process::CLOCK_PROCESS_CPUTIME_ID
      count = 0
      began = nil
      note = lambda do |data|
        began ||= [clock.call(wall), clock.call(cpu)]
        count += data.bytesize.positive? ? 1 : 0
        if count == MESSAGES
          puts [clock.call(wall) - began[0], clock.call(cpu) - began[1]].join(" ")
          exit!(0)
        end
      end
    RUBY

    REDIS_RB = <<~RUBY.freeze
      require "redis"
      #{ENDING}
      Redis.new(port: PORT).subscribe(*CHANNELS) do |on|
        on.subscribe { |_, total| ready.call if total == CHANNELS.size }
        on.message { |_, data| note.call(data) }
      end
    RUBY

    PYTHON = <<~PYTHON
      import json, os, sys, time
      import redis
      channels, messages = json.loads(sys.argv[1]), int(sys.argv[2])
      subscriber = redis.Redis(port=int(sys.argv[3])).pubsub(ignore_subscribe_messages=False)
      subscriber.subscribe(*channels)
      count, began, confirmed = 0, None, 0
      for message in subscriber.listen():
          if message["type"] == "subscribe":
              confirmed += 1
              if confirmed == len(channels):
                  print("ready", flush=True)
              continue
          began = began or (time.monotonic(), time.process_time())
          count += 1 if len(message["data"]) > 0 else 0
          if count == messages:
              print(time.monotonic() - began[0], time.process_time() - began[1], flush=True)
              os._exit(0)
    PYTHON

    # @param words [String] what the consumer says besides
    # @return [String] Ruby code
    def self.ours(words)
      handler = words.include?("batch") ? "events.each { |event| note.call(event.data) }" : "note.call(events.data)"
      <<~RUBY
        require "logger"
        require "redis_ipc"
        #{ENDING}
        lock = Mutex.new
        RedisIPC::Events.consume(channel: CHANNELS, overflow: :block, redis_options: { port: PORT },
                                 logger: Logger.new(IO::NULL), #{words}) { |events| lock.synchronize { #{handler} } }
        ready.call
        sleep
      RUBY
    end

    ALL = {
      "redis_ipc, 1 thread" => ours("concurrency: { threads: 1 }"),
      "redis_ipc, 5 threads" => ours("concurrency: { threads: 5 }"),
      "redis_ipc, batches of 500" => ours("concurrency: { threads: 1 }, batch: { size: 500, within: 0.05 }"),
      "redis-rb" => REDIS_RB,
      "redis-py" => PYTHON
    }.freeze
  end

  # One measurement: a Redis, a script that publishes, and a process that subscribes.
  class LiveRun
    LIBRARY = File.expand_path("../lib", __dir__)
    # How many messages one script publishes.
    SCRIPT = 1_000
    PUBLISH = <<~LUA
      local payload = string.rep("x", 200)
      for number = 1, ARGV[1] do
        redis.call("PUBLISH", "channel" .. (number % ARGV[2]), payload)
      end
    LUA

    def initialize(name, channels, messages)
      @name = name
      @channels = Array.new(channels) { |number| "channel#{number}" }
      @messages = messages
    end

    # @return [Array(Float, Float)] messages/s, and the microseconds of processor time of each
    def measure
      server = RedisServer.new
      # A subscriber that is slower than the script is not cut off.
      server.client.config(:set, "client-output-buffer-limit", "pubsub 0 0 0")
      IO.popen(command(server.port)) do |process|
        process.gets
        (@messages / SCRIPT).times { server.client.eval(PUBLISH, [], [SCRIPT, @channels.size]) }
        seconds, cpu = process.gets.split.map(&:to_f)
        [@messages / seconds, cpu / @messages * 1_000_000]
      end
    ensure
      server&.stop
    end

    private

    def command(port)
      code = Subscribers::ALL.fetch(@name)
      python = -> { [PeerPackages.python, "-c", code, JSON.generate(@channels), @messages.to_s, port.to_s] }
      return python.call if @name == "redis-py"

      values = "CHANNELS = #{@channels.inspect}; MESSAGES = #{@messages}; PORT = #{port}; $stdout.sync = true; " \
               "ready = -> { puts \"ready\" }\n"
      [RbConfig.ruby, "-I#{LIBRARY}", "-e", values + code]
    end
  end

  # bench/live.rb from the command line.
  module LiveBench
    class << self
      def run(arguments)
        options = { messages: 200_000, rounds: 3 }
        names = parser(options).parse(arguments)
        names = Subscribers::ALL.keys if names.empty?
        [1, 100].each do |channels|
          puts "#{channels} #{channels == 1 ? "channel" : "channels"}, #{options[:messages]} messages of 200 bytes"
          found = measure(names, channels, options)
          found.each { |name, (rate, cpu)| puts row(name, rate, cpu) }
        end
      end

      private

      def parser(options)
        OptionParser.new do |parser|
          parser.on("--messages N", Integer) { |count| options[:messages] = count }
          parser.on("--rounds N", Integer) { |count| options[:rounds] = count }
        end
      end

      def row(name, rate, cpu)
        "  #{name.ljust(28)} #{rate.round.to_s.rjust(9)} messages/s  #{cpu.round(2).to_s.rjust(6)} us of processor time"
      end

      def measure(names, channels, options)
        rounds = Array.new(options[:rounds]) do
          names.to_h { |name| [name, LiveRun.new(name, channels, options[:messages]).measure] }
        end
        names.to_h { |name| [name, rounds.map { |round| round.fetch(name) }.transpose.map { |all| median(all) }] }
      end

      def median(all)
        all.sort[all.size / 2]
      end
    end
  end
end

Bench::LiveBench.run(ARGV) if $PROGRAM_NAME == __FILE__
