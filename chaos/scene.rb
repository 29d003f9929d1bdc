# frozen_string_literal: true

require_relative "worker"

module Chaos
  # A row while it runs: the place, the workers, and the actions of faults.
  class Scene
    ASKERS = 2
    ANSWERERS = 2
    THREADS = 4
    # The name of the stream or the queue.
    PLACE = "house"

    # The end of a row: whether every process ended by itself, the ids of the dead letters, and how many requests were
    # left (only if the row has a promise).
    Ending = Struct.new(:orderly, :dead, :waiting)

    # Raised by a fault that is not possible here.
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

    # Returns one of several. In bin/oracle the seed decides which.
    def any(list)
      list.sample
    end

    # Runs the fault, and notes when it began and when Redis was back.
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

    # Notes that Redis is back, though the fault goes on with other things.
    def back!
      @back = Chaos.now
    end

    # Waits as {#stand} does, and measures memory and waiting requests meanwhile.
    def stand_and_look(seconds)
      deadline = Chaos.now + seconds
      while Chaos.now < deadline
        seen = { waiting: fault.protocol.waiting(place.admin), redis: place.admin.info("memory")["used_memory"].to_i,
                 process: workers.filter_map(&:memory).max.to_i }
        @most.merge!(seen) { |_, before, now| [before, now].max }
        sleep 0.05
      end
    end

    # Waits for some seconds under the load.
    def stand(seconds)
      sleep seconds
    end

    # Runs the block several times, with pauses.
    def again_and_again(times, every:)
      times.times do
        yield
        sleep every
      end
    end

    # Kills the server and starts it again. Each time it is away for some seconds.
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

    # Kills a worker, as a crash would.
    def kill(worker)
      @killed << worker
      worker.kill
    end

    # Starts new answerers in place of those that have died.
    def replace_answerers
      replace(answerers.select(&:gone?))
    end

    # Lets workers end by themselves before the others.
    def leave(leaving)
      @left.concat(leaving)
      leaving.each(&:finish)
      leaving.each { |worker| worker.wait(60) || raise("a worker did not end") }
    end

    # Lets another asker make large calls, and end after them.
    def ask_much(kinds)
      leave([add(:asker, threads: 0, interval: nil, large: kinds, timeout: 8)])
    end

    # Sets a limit of Redis while the block runs.
    def under_limit(name, value)
      before = redis("CONFIG", "GET", name).last
      redis("CONFIG", "SET", name, value)
      yield
    ensure
      redis("CONFIG", "SET", name, before)
    end

    # Lets the oldest answerer leave, and starts another one.
    def replace_oldest_answerer
      leave([(answerers - left).first])
      add(:answerer).wait_until_ready
    end

    # Starts a worker. Every second asker belongs to the group that is asked, but has no handler, so it takes none of
    # the requests.
    # @param own [Hash] settings: `threads` that ask in turn, `pause` between their calls, `interval` of the
    #   asynchronous calls (nil: none), `poison` (the number of requests that kill the answerer), `large` (see
    #   Asker#ask_for_much), `pulse` (see Asker#rest), `timeout`, `options` of the gem
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
      orderly = [askers, answerers].map { |group| finish_all(group, fault.timeout + 10) }
      @ending = Ending.new(orderly.all?, dead, (fault.protocol.waiting(place.admin) if fault.promise))
    end

    def stop
      workers.each(&:stop)
      place&.stop
    end

    # Returns the ids of the questions that were given up on.
    def dead
      fault.protocol.dead(place.admin)
    rescue Redis::BaseError, SystemCallError
      []
    end

    private

    # Starts new workers in place of some that have died.
    def replace(gone)
      @killed.concat(gone)
      gone.map { |worker| add(worker.role) }.each(&:wait_until_ready)
    end

    # Returns whether all of a group end by themselves within some seconds.
    def finish_all(group, seconds)
      group.each(&:finish)
      group.map { |worker| worker.wait(seconds) }.all?
    end

    def usual
      { place: PLACE, redis_options: place.redis_options, timeout: fault.timeout, work: fault.work, threads: THREADS,
        pause: 0.002, interval: 0.01, options: {} }
    end

    def warm_up
      enough = fault.calm ? 1_000 : 5_000
      Chaos.eventually(timeout: 20) { workers.all? { |worker| File.size?(worker.journal).to_i > enough } }
    end

    # The processor time and the commands up to a moment.
    class Sample
      attr_reader :at, :cpu, :commands

      def initialize(scene)
        @at = Chaos.now
        @cpu = scene.workers.to_h { |worker| [worker, worker.cpu] }
        @commands = scene.place.commands
      end

      # Returns figures per second up to another sample: the processor time of the busiest process, and the server's
      # commands.
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
