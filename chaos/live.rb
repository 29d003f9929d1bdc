# frozen_string_literal: true

# ruby chaos/live.rb [--faults N] [--seed N]
#
# Breaks the subscription of a consumer of a channel by random faults, while a publisher counts what Redis has
# published.
# After each fault it compares what is missing with what the consumer was told: less than that is a violation. It prints
# how tight the bounds were, and ends with 1 after a violation.

require "logger"
require "optparse"
require "timeout"
require_relative "proxy"
require_relative "../lib/redis_ipc"
require_relative "../spec/support/redis_server"

module Chaos
  # Faults of a live source, and what they cost.
  module Live
    CHANNEL = "live"
    # Seconds until the consumer must have what was published last.
    PATIENCE = 15

    # Publishes numbers, about 1,000 a second, by a connection of its own, and keeps those that Redis has published.
    class Publisher
      def initialize(server)
        @server = server
        @numbers = 0
        @published = Queue.new
        @running = true
        @thread = Thread.new { publish while @running }
      end

      # Returns the numbers that were published since the last call. Nothing is published meanwhile.
      def harvest
        pause
        Array.new(@published.size) { @published.pop }
      end

      def pause
        @paused = true
        sleep 0.001 until @idle
      end

      def resume
        @idle = false
        @paused = false
      end

      # Publishes one number. Returns it once Redis has it.
      def one
        number = (@numbers += 1)
        client.publish(CHANNEL, number)
        @published << number
        number
      rescue Redis::BaseError, SystemCallError
        # It may have been published: nobody knows, so it counts as neither.
        @client = nil
        sleep 0.02
        nil
      end

      def stop
        @running = false
        @thread.join
      end

      private

      def publish
        @idle = @paused
        return sleep(0.001) if @paused

        one
        sleep 0.001
      end

      def client
        @client ||= Redis.new(path: @server.path, timeout: 5, reconnect_attempts: 0)
      end
    end

    # One server, a proxy before it, a publisher and a consumer.
    class Scene
      FAULTS = {
        "CLIENT KILL" => ->(scene, _) { scene.kill },
        "connection reset" => ->(scene, _) { scene.proxy.cut },
        "outage, then reset" => ->(scene, random) { scene.away(random.rand(0.05..0.8)) { scene.proxy.cut } },
        "half open" => ->(scene, random) { scene.away(random.rand(1.2..2.5)) },
        "slow network" => ->(scene, random) { scene.slow(random.rand(0.02..0.2)) },
        "server hangs" => ->(scene, random) { scene.hang(random.rand(0.1..1.5)) },
        "server restarts" => ->(scene, _) { scene.restart },
        "counters reset, then kill" => ->(scene, _) { scene.admin.config(:resetstat) && scene.kill },
        "slow handler" => ->(scene, random) { scene.slow_handler(random.rand(0.3..0.8)) }
      }.freeze

      attr_reader :proxy, :losses

      def initialize
        @server = RedisServer.new
        @proxy = Proxy.new(@server.port)
        @got = Queue.new
        @losses = Queue.new
        got = @got
        @consumer = RedisIPC::Events.consume(
          channel: CHANNEL, redis_options: { port: @proxy.port, read_timeout: 1, connect_timeout: 1 }, prefetch: 200,
          logger: Logger.new(IO::NULL), on_error: ->(_) {}, on_loss: ->(loss) { @losses << loss },
          concurrency: { threads: 2 }
        ) do |event|
          brake = @brake
          sleep brake if brake
          got << event.data.to_i
        end
        @publisher = Publisher.new(@server)
      end

      def admin
        @server.client
      end

      def kill
        admin.call("CLIENT", "KILL", "TYPE", "pubsub")
      end

      # No byte passes for so many seconds.
      def away(seconds)
        proxy.behave(:drop)
        sleep seconds
        yield if block_given?
      ensure
        proxy.behave(:pass)
      end

      def slow(delay)
        proxy.behave(:delay, delay)
        sleep 0.5
      ensure
        proxy.behave(:pass)
      end

      def hang(seconds)
        Process.kill(:STOP, @server.pid)
        sleep seconds
      ensure
        Process.kill(:CONT, @server.pid)
      end

      def restart
        @server.kill
        @server.start
      end

      def slow_handler(seconds)
        @brake = 0.02
        sleep seconds
      ensure
        @brake = nil
      end

      # Runs a fault.
      # @return [Array(Integer, Array<Loss>)] how many messages are missing, and what was told
      def run(fault, random)
        @publisher.resume
        sleep random.rand(0.05..0.4)
        fault.call(self, random)
        sleep random.rand(0.05..0.3)
        settle
        published = @publisher.harvest
        got = Array.new(@got.size) { @got.pop }
        [(published - got).size, Array.new(@losses.size) { @losses.pop }]
      end

      def stop
        @publisher.stop
        @consumer.stop
        proxy.stop
        @server.stop
      end

      private

      # Waits until a message comes that was published after the fault.
      def settle
        Timeout.timeout(PATIENCE) do
          loop do
            @publisher.pause
            last = @publisher.one
            deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 0.5
            seen = []
            until Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
              sleep 0.005
              seen.concat(Array.new(@got.size) { @got.pop })
              break if seen.include?(last)
            end
            seen.each { |number| @got << number }
            return if seen.include?(last)
          end
        end
      end
    end

    # What faults of one kind have cost.
    Result = Struct.new(:runs, :lost, :told, :unbounded, :violations, :ratios) do
      def add(missing, losses)
        bound = losses.map(&:at_most)
        self.runs += 1
        self.lost += missing
        self.unbounded += 1 if bound.include?(nil)
        self.told += bound.compact.sum
        self.violations += 1 if !bound.include?(nil) && bound.sum < missing
        ratios << (bound.sum.to_f / missing) if missing.positive? && !bound.include?(nil)
      end

      def median
        ratios.sort[ratios.size / 2]
      end

      def row(name)
        ratio = median ? format("%.2f", median) : "-"
        [name.ljust(26), *[runs, lost, told, unbounded, ratio, violations].map { |one| one.to_s.rjust(10) }].join(" ")
      end
    end

    class << self
      def run(arguments)
        options = { faults: 100, seed: Random.new_seed % 100_000 }
        parser(options).parse(arguments)
        puts "seed #{options[:seed]}"
        results = measure(options, Random.new(options[:seed]))
        titles = %w[runs lost told unbounded median violations].map { |title| title.rjust(10) }
        puts ["fault".ljust(26), *titles].join(" ")
        results.each { |name, result| puts result.row(name) }
        exit(1) if results.each_value.any? { |result| result.violations.positive? }
      end

      private

      def parser(options)
        OptionParser.new do |parser|
          parser.on("--faults N", Integer) { |count| options[:faults] = count }
          parser.on("--seed N", Integer) { |seed| options[:seed] = seed }
        end
      end

      def measure(options, random)
        results = Hash.new { |all, name| all[name] = Result.new(0, 0, 0, 0, 0, []) }
        scene = Scene.new
        options[:faults].times do
          name, fault = Scene::FAULTS.to_a.sample(random: random)
          results[name].add(*scene.run(fault, random))
        end
        results.sort.to_h
      ensure
        scene&.stop
      end
    end
  end
end

Chaos::Live.run(ARGV) if $PROGRAM_NAME == __FILE__
