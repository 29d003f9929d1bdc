# frozen_string_literal: true

require_relative "worker"

module Chaos
  # One row while it runs: the place, the workers, and what a fault can do to them.
  class Scene
    ASKERS = 2
    ANSWERERS = 2
    THREADS = 4
    # The stream or the queue.
    PLACE = "house"

    # How it ended: whether every process did of itself, the ids of the dead letters, and how many requests were left
    # (only looked at where something is promised of it).
    Ending = Struct.new(:orderly, :dead, :waiting)

    # What a fault says when it cannot happen here.
    Impossible = Class.new(StandardError)

    attr_reader :place, :workers, :killed, :left, :fault, :began, :back, :load, :most, :ending

    def initialize(fault, folder)
      @fault = fault
      @folder = folder
      @workers = []
      @killed = []
      @left = []
      @most = Hash.new(0)
    end

    def start
      @place = fault.place.call
      ANSWERERS.times { add(:answerer) }
      workers.each(&:wait_until_ready)
      ASKERS.times { add(:asker) }
      askers.each(&:wait_until_ready)
    end

    # One of several; bin/oracle decides which.
    def any(list)
      list.sample
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

    # As {#stand}; looks meanwhile how much there is at once of what must not grow without end.
    def stand_and_look(seconds)
      deadline = Chaos.now + seconds
      while Chaos.now < deadline
        seen = { waiting: fault.protocol.waiting(place.admin), redis: place.admin.info("memory")["used_memory"].to_i,
                 process: workers.filter_map(&:memory).max.to_i }
        @most.merge!(seen) { |_, before, now| [before, now].max }
        sleep 0.05
      end
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

    # Kills the server and starts it again; it is away for so many seconds each time.
    def restart_server(times: 1, away: 0.7)
      times.times do |number|
        stand 1 if number.positive?
        server.kill
        stand away
        server.start
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

    # Puts others in the place of answerers that are gone.
    def replace_answerers
      gone = answerers.select(&:gone?)
      @killed.concat(gone)
      gone.map { add(:answerer) }.each(&:wait_until_ready)
    end

    # Has workers end of themselves before the others do.
    def leave(leaving)
      @left.concat(leaving)
      leaving.each(&:finish)
      leaving.each { |worker| worker.wait(60) || raise("a worker did not end") }
    end

    # Has another asker ask what is large, and leave when that has ended.
    def ask_much(kinds)
      leave([add(:asker, threads: 0, interval: nil, large: kinds, timeout: 8)])
    end

    # Redis has a limit for the time of the block.
    def under_limit(name, value)
      before = redis("CONFIG", "GET", name).last
      redis("CONFIG", "SET", name, value)
      yield
    ensure
      redis("CONFIG", "SET", name, before)
    end

    # Has the oldest answerer leave, and then another one join.
    def replace_oldest_answerer
      leave([(answerers - left).first])
      add(:answerer).wait_until_ready
    end

    # Every second asker belongs to the group that is asked, but has no handler: it takes none of the requests.
    # @param own [Hash] settings: `threads` that ask in turn, `pause` between their calls, `interval` of the others
    #   (nil: there are none), `poison` (how many questions that kill who answers), `large` (see Asker#ask_for_much),
    #   `pulse` (see Asker#rest), `timeout`, `options` of the gem
    def add(role, **own)
      group = role == :asker && askers.size.even? ? "asker" : "answerer"
      journal = File.join(@folder, "#{role}-#{workers.size}")
      settings = { **usual, group: group, **fault.settings.fetch(role, {}), **own }
      program = fault.protocol.program(role)
      workers << Worker.new(role, journal, settings, program: program, environment: fault.environment)
      workers.last
    end

    # Ends the load and every process.
    def finish
      dead = self.dead
      orderly = [askers, answerers].map do |group|
        group.each(&:finish)
        group.map { |worker| worker.wait(fault.timeout + 10) }.all?
      end
      @ending = Ending.new(orderly.all?, dead, (fault.protocol.waiting(place.admin) if fault.promise))
    end

    def stop
      workers.each(&:stop)
      place&.stop
    end

    # The ids of the questions that were given up on.
    def dead
      fault.protocol.dead(place.admin)
    rescue Redis::BaseError, SystemCallError
      []
    end

    private

    def usual
      { place: PLACE, redis_options: place.redis_options, timeout: fault.timeout, work: fault.work, threads: THREADS,
        pause: 0.002, interval: 0.01, options: {} }
    end

    def warm_up
      enough = fault.calm ? 1_000 : 5_000
      Chaos.eventually(timeout: 20) { workers.all? { |worker| File.size?(worker.journal).to_i > enough } }
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
