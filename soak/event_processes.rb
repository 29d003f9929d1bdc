# frozen_string_literal: true

require "io/wait"
require "logger"
require "rbconfig"
require "redis"
require "redis_ipc"
require_relative "footprint"
require_relative "soak"
require_relative "../spec/support/redis_server"

# What the soaks of events share: processes that publish and consume, and the books of what was handled.
module EventProcesses
  STREAM = "soak"
  GROUP = "books"
  HASH = "#{STREAM}:events:#{GROUP}".freeze
  KEYS = 10_000
  LEASE = 2
  # A record of a handler that has ended: the key, the number of the event within the key, and the time.
  RECORD = "NNG"
  SIZE = 16

  # The events of a key have the numbers 0, 1, 2 and so on.
  def self.events(from, count)
    (from...(from + count)).map do |number|
      { key: number % KEYS, data: { "number" => number / KEYS, "filler" => "x" * 150 } }
    end
  end

  # A child process: this file with a role. It answers each line with its footprint.
  class Child
    attr_reader :pid

    def initialize(role, *arguments)
      @answers, output = IO.pipe
      input, @questions = IO.pipe
      command = [RbConfig.ruby, "-I#{File.expand_path("../lib", __dir__)}", __FILE__, role, *arguments]
      @pid = Process.spawn(*command, in: input, out: output)
      [input, output].each(&:close)
    end

    # Says a line, and returns the answer.
    def ask(line)
      @questions.puts(line)
      answer
    end

    def answer
      raise "process #{pid} says nothing" unless @answers.wait_readable(120)

      @answers.gets.to_s.chomp
    end

    def footprint
      Footprint.parse(ask("look"))
    end

    def kill
      Process.kill(:KILL, pid)
      Process.wait(pid)
    end

    def finish
      @questions.close
      Process.wait(pid)
    end
  end

  # Handles events in order by key, and writes a record of each at once.
  module Consumer
    def self.run(path, file)
      records = File.open(file, File::WRONLY | File::APPEND | File::CREAT | File::BINARY)
      records.sync = true
      subscription = consume(path, records)
      puts "ready"
      puts Footprint.line while $stdin.gets
      subscription.stop
    end

    def self.consume(path, records)
      RedisIPC::Events.consume(stream: STREAM, group: GROUP, from: :beginning, order: :key, lease: LEASE,
                               redis_options: { path: path }, concurrency: { threads: 2 }, logger: Logger.new(IO::NULL),
                               on_loss: ->(loss) { warn "PROBLEM: #{loss}" }) do |event|
        time = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        records.syswrite([event.key.to_i, event["number"], time].pack(RECORD))
      end
    end
  end

  # Publishes as much as is consumed, for the seconds that a line names, and answers with the number of events.
  class Publisher
    include Soak

    AT_ONCE = 500
    # No more entries wait than this.
    MOST = 50_000

    def self.run(path)
      new(path).run
    end

    def initialize(path)
      @path = path
      @redis = RedisServer.client(path: path)
      @published = 0
    end

    def run
      puts "ready"
      while (line = $stdin.gets&.chomp)
        puts(line == "look" ? Footprint.line : publish_for(Float(line)))
      end
    end

    private

    def publish_for(seconds)
      before = @published
      stop_at = now + seconds
      while now < stop_at
        events = EventProcesses.events(@published, AT_ONCE)
        RedisIPC::Events.publish_all(STREAM, events, redis_options: { path: @path })
        @published += AT_ONCE
        sleep 0.02 while (@published % 10_000).zero? && EventProcesses.trim(@redis) > MOST && now < stop_at
      end
      @published - before
    end
  end

  # A soak of events: a server, the books, and the processes that consume.
  class Run
    include Soak

    def initialize(folder)
      @folder = folder
      @server = RedisServer.new
      @books = Books.new
      @files = []
      @killed = 0
    end

    private

    def consumer
      @files << File.join(@folder, "records-#{@files.size}")
      Child.new("consume", @server.path, @files.last).tap(&:answer)
    end
  end

  # Trims what every lane has done. Returns how many entries are left.
  def self.trim(redis)
    lanes = redis.hgetall(HASH).select { |field, _| field.start_with?("c:") }.values.map { |text| text[/\A\S+/] }
    lowest = lanes.min_by { |id| id.split("-").map(&:to_i) }
    redis.call("XTRIM", STREAM, "MINID", lowest) if lanes.size == 64
    redis.xlen(STREAM)
  end

  # Compares the records of all consumers with what was published.
  class Books
    attr_reader :handled, :reruns, :wrong

    def initialize
      @next = Array.new(KEYS, 0)
      @read = Hash.new(0)
      @handled = @reruns = 0
      @wrong = []
    end

    # Reads the records that came since, in the order of their times: the first handlings of each key must have the
    # numbers 0, 1, 2 and so on.
    def add(files)
      files.flat_map { |file| records(file) }.sort_by!(&:last).each { |key, number, _| note(key, number) }
    end

    private

    def records(file)
      text = File.binread(file, nil, @read[file]).to_s
      text = text.byteslice(0, text.bytesize / SIZE * SIZE)
      @read[file] += text.bytesize
      text.unpack(RECORD * (text.bytesize / SIZE)).each_slice(3).to_a
    end

    def note(key, number)
      expected = @next[key]
      return @reruns += 1 if number < expected

      @wrong << "key #{key}: #{number} was handled before #{expected}" if number > expected
      @next[key] = number + 1
      @handled += 1
    end
  end
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  role, *arguments = ARGV
  { "consume" => EventProcesses::Consumer, "publish" => EventProcesses::Publisher }.fetch(role).run(*arguments)
end
