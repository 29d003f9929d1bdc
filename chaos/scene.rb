# frozen_string_literal: true

require_relative "worker"

module Chaos
  # One row while it runs: the place, the workers, and what a fault can do to them.
  class Scene
    ASKERS = 2
    ANSWERERS = 2
    THREADS = 4

    # What a fault says when it cannot happen here.
    Impossible = Class.new(StandardError)

    attr_reader :place, :workers, :killed, :fault, :began, :back, :load

    def initialize(fault, folder)
      @fault = fault
      @folder = folder
      @workers = []
      @killed = []
    end

    def start
      @place = fault.place.call
      ANSWERERS.times { add(:answerer) }
      workers.each(&:wait_until_ready)
      ASKERS.times { add(:asker) }
      askers.each(&:wait_until_ready)
    end

    # Runs the fault, and notes when Redis was away and when it was back.
    def happen
      warm_up
      @calm = Sample.new(self)
      sleep 0.5
      @storm = Sample.new(self)
      @began = Chaos.now
      instance_exec(&fault.action)
      @back ||= Chaos.now
      @load = { calm: @calm.until(@storm), storm: @storm.until(Sample.new(self)) }
    end

    # Redis is back from here on, though the fault goes on with other things.
    def back!
      @back = Chaos.now
    end

    # Nothing goes on but the load, for a while.
    def stand(seconds)
      sleep seconds
    end

    # Does something over and over.
    def again_and_again(times, every:)
      times.times do
        yield
        sleep every
      end
    end

    def impossible(reason)
      raise Impossible, reason
    end

    def server
      place.server
    end

    def redis(*command)
      place.admin.call(*command)
    end

    def askers
      workers.select { |worker| worker.role == :asker && !@killed.include?(worker) }
    end

    def answerers
      workers.select { |worker| worker.role == :answerer && !@killed.include?(worker) }
    end

    # Kills a worker, as a crash does.
    def kill(worker)
      @killed << worker
      worker.kill
    end

    # Every second asker belongs to the group that is asked, but has no handler: it must leave the requests alone.
    def add(role)
      group = role == :asker && askers.size.even? ? "asker" : "answerer"
      journal = File.join(@folder, "#{role}-#{workers.size}")
      settings = { redis_options: place.redis_options, group: group, timeout: fault.timeout, work: fault.work,
                   threads: THREADS, pause: 0.002, interval: 0.01 }
      workers << Worker.new(role, journal, settings, environment: fault.environment)
      workers.last
    end

    # Ends the load and every process. True if all ended of themselves.
    def finish
      ended = [askers, answerers].map do |group|
        group.each(&:finish)
        group.map { |worker| worker.wait(fault.timeout + 10) }.all?
      end
      ended.all?
    end

    def stop
      workers.each(&:stop)
      place&.stop
    end

    def dead_letters
      place.admin.xlen("house:dead:answerer")
    rescue Redis::BaseError, SystemCallError
      0
    end

    private

    def warm_up
      Chaos.eventually(timeout: 20) { workers.all? { |worker| File.size?(worker.journal).to_i > 5_000 } }
    end

    # Processor time and commands up to a moment.
    class Sample
      attr_reader :at, :cpu, :commands

      def initialize(scene)
        @at = Chaos.now
        @cpu = scene.workers.to_h { |worker| [worker, worker.cpu] }
        @commands = scene.place.commands
      end

      # Per second, up to another moment: the busiest process's processor time, and the server's commands.
      def until(other)
        seconds = other.at - at
        used = cpu.filter_map { |worker, before| other.cpu[worker] - before if before && other.cpu[worker] }
        commands = other.commands - self.commands if self.commands && other.commands
        { seconds: seconds, cpu: used.max.to_f / seconds,
          commands: (commands / seconds if commands&.>=(0)) }
      end
    end
  end
end
