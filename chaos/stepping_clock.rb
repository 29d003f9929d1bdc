# frozen_string_literal: true

require "open3"

module Chaos
  # A wall clock that can be stepped, for processes that are started with its environment.
  class SteppingClock
    SOURCE = File.expand_path("programs/stepping_clock.c", __dir__)

    def initialize
      @library = File.join(Dir.tmpdir, "redis_ipc_clock_#{Process.pid}.so")
      @file = File.join(Dir.tmpdir, "redis_ipc_clock_#{Process.pid}")
    end

    def environment
      { "LD_PRELOAD" => @library, "STEPPING_CLOCK" => @file }
    end

    # Sets the clock right, or fails where there can be no such clock.
    def start
      step(0)
      said, status = Open3.capture2e("cc", "-O2", "-shared", "-fPIC", "-o", @library, SOURCE)
      raise Scene::Impossible, "the clock could not be compiled: #{said.strip}" unless status.success?
    rescue Errno::ENOENT
      raise Scene::Impossible, "there is no C compiler (cc)"
    end

    # Sets how many seconds the clock is ahead.
    def step(seconds)
      @ahead = seconds
      File.binwrite(@file, [seconds].pack("q"), 0)
    end

    # Steps the clock by some seconds.
    def jump(seconds)
      step(@ahead + seconds)
    end

    def remove
      FileUtils.rm_f([@file, @library])
    end
  end

  # A redis-server with that clock.
  class ClockedServer < RedisServer
    def initialize(clock, **settings)
      @clock = clock
      super(**settings)
    end

    private

    def command
      ["env", *@clock.environment.map { |pair| pair.join("=") }, "redis-server"]
    end
  end

  # A place whose server has such a clock.
  module Clocked
    attr_reader :clock

    def initialize(**settings)
      @clock = SteppingClock.new
      clock.start
      super(server: ClockedServer.new(clock, **settings))
    end

    def stop
      super
      clock.remove
    end
  end

  # One server whose clock can be stepped.
  class ClockedPlace < Place
    include Clocked
  end

  # A master and a replica whose clock is some seconds ahead.
  class AheadPlace < ReplicatedPlace
    def initialize(seconds)
      @clock = SteppingClock.new
      @clock.start
      @clock.step(seconds)
      super()
    end

    def stop
      super
      @clock.remove
    end

    private

    def start_replica(**settings)
      ClockedServer.new(@clock, **settings)
    end
  end
end
