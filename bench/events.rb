# frozen_string_literal: true

# ruby bench/events.rb [--seconds N] [--rounds N] [CASE ...]
#
# Measures how many events a second a consumer of RedisIPC::Events handles, from a stream that has enough of them. Each
# figure is of a process of its own with a Redis server of its own. The executors of a case are measured in turn, so
# that other load of the machine affects all alike; the median of the rounds counts.

require "fileutils"
require "json"
require "optparse"
require "rbconfig"
require_relative "harness/redis_server"

module Bench
  # How fast consumers of events are.
  module EventsCases
    # A kind of handler.
    # - title
    # - handler: Ruby code that handles `event`
    # - executors: those that are measured, as `concurrency` takes them
    # - words: what else the consumer says
    # - bound: what an executor would reach if nothing cost anything, in events/s; nil if there is none
    # - supply: how many events are there for each second; more than can be handled
    Case = Struct.new(:title, :handler, :executors, :words, :bound, :supply, keyword_init: true)

    # Computes for so many seconds of this thread's processor time.
    COMPUTE = <<~RUBY
      until_time = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) + 0.001
      nil while Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) < until_time
    RUBY

    ALL = {
      "none" => Case.new(
        title: "Handlers that read one field", handler: 'event["number"]', supply: 150_000,
        executors: [{ threads: 1 }, { threads: 5 }, { fibers: 5 }, { processes: 1 }, { processes: 2 }]
      ),
      "batch" => Case.new(
        title: "Batches of 500, of which one field of each is read", words: "batch: { size: 500, within: 0.2 }",
        handler: 'event.each { |one| one["number"] }', supply: 300_000,
        executors: [{ threads: 1 }, { fibers: 1 }, { processes: 1 }, { processes: 2 }]
      ),
      "compute_1ms" => Case.new(
        title: "Handlers that compute for 1 ms", handler: COMPUTE, supply: 4_000,
        executors: [{ threads: 1 }, { threads: 2 }, { processes: 1 }, { processes: 2 }],
        bound: ->(executor) { 1000 * executor.fetch(:processes, 1) }
      ),
      "wait_5ms" => Case.new(
        title: "Handlers that wait for 5 ms", handler: "sleep 0.005", supply: 15_000,
        executors: [{ threads: 50 }, { fibers: 50 }],
        bound: ->(executor) { 200 * executor.values.inject(:*) }
      )
    }.freeze
  end

  # One measurement: a Redis, a stream full of events, and a process that consumes it.
  class EventsRun
    LIBRARY = File.expand_path("../lib", __dir__)
    # Seconds.
    WARM_UP = 1
    # How many events one script adds.
    SCRIPT = 10_000
    # Adds events of about 200 bytes.
    FILL = <<~LUA
      local filler = string.rep("x", 150)
      for number = 1, ARGV[1] do
        redis.call("XADD", KEYS[1], "*", "data", '{"number":' .. number .. ',"filler":"' .. filler .. '"}')
      end
    LUA

    def initialize(one, executor, seconds)
      @one = one
      @executor = executor
      @seconds = seconds
    end

    # @return [Float] events/s
    def measure
      server = RedisServer.new
      fill(server.client)
      IO.popen([RbConfig.ruby, "-I#{LIBRARY}", "-e", program(server.port)], &:read).to_f
    ensure
      server&.stop
    end

    private

    def fill(redis)
      (@one.supply * (@seconds + WARM_UP) / SCRIPT).next.times { redis.eval(FILL, ["events"], [SCRIPT]) }
    end

    def program(port)
      <<~RUBY
        require "redis_ipc"
        require "logger"
        subscription = RedisIPC::Events.consume(
          stream: "events", group: "bench", from: :beginning, redis_options: { port: #{port} }, lease: 600,
          logger: Logger.new(IO::NULL), concurrency: { #{@executor.map { |name, value| "#{name}: #{value}" }.join(", ")} },
          #{@one.words}
        ) do |event|
          #{@one.handler}
        end
        sleep #{WARM_UP}
        count = -> { [subscription.stats[:acknowledged], Process.clock_gettime(Process::CLOCK_MONOTONIC)] }
        first, began = count.call
        sleep #{@seconds}
        last, ended = count.call
        abort "the stream was empty before the end: give the case more supply" if subscription.lag.zero?
        puts (last - first) / (ended - began)
        subscription.stop(timeout: 0)
      RUBY
    end
  end

  # bench/events.rb from the command line.
  module EventsBench
    class << self
      def run(arguments)
        options = { seconds: 3, rounds: 3 }
        names = parser(options).parse(arguments)
        unknown = names - EventsCases::ALL.keys
        return warn("unknown case #{unknown.first}; known: #{EventsCases::ALL.keys.join(", ")}") if unknown.any?

        (names.empty? ? EventsCases::ALL.keys : names).each { |name| show(EventsCases::ALL[name], **options) }
      end

      private

      def parser(options)
        OptionParser.new do |parser|
          parser.banner = "ruby bench/events.rb [options] [#{EventsCases::ALL.keys.join(" | ")}] ..."
          parser.on("--seconds N", Integer, "how long each measurement takes (3)") { |given| options[:seconds] = given }
          parser.on("--rounds N", Integer, "how often each is made (3)") { |given| options[:rounds] = given }
        end
      end

      def show(one, seconds:, rounds:)
        puts "", one.title, "", "| executor | events/s | of the bound | rounds |", "|---|---|---|---|"
        rates = Array.new(rounds) { one.executors.map { |executor| EventsRun.new(one, executor, seconds).measure } }
        one.executors.zip(rates.transpose) { |executor, all| row(executor, all, one.bound&.call(executor)) }
      end

      def row(executor, rates, bound)
        median = rates.sort[rates.size / 2]
        of_bound = bound ? format("%.2f", median / bound) : ""
        words = executor.map { |name, value| "#{name}: #{value}" }.join(", ")
        puts "| #{words} | #{median.round} | #{of_bound} | #{rates.map(&:round).join(", ")} |"
      end
    end
  end
end

Bench::EventsBench.run(ARGV) if $PROGRAM_NAME == __FILE__
