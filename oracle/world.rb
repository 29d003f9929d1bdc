# frozen_string_literal: true

module Oracle
  # The processes and the server while the schedule runs. Each process makes or answers every kind of calls.
  class World < Chaos::Scene
    ASKERS = 3
    ANSWERERS = 3
    PROGRAM = File.expand_path("programs/worker", __dir__)

    # One kind of calls in one process. Books reads its journal.
    Part = Struct.new(:worker, :traffic, :role, :journal)

    # One fault, and when it began and ended.
    Happening = Struct.new(:name, :began, :ended)

    attr_reader :parts, :happened

    def initialize(folder)
      super(nil, folder)
      @parts = []
      @happened = []
      @lock = Mutex.new
    end

    def start
      @place = Place.new
      ANSWERERS.times { add(:answerer) }
      workers.each(&:wait_until_ready)
      ASKERS.times { add(:asker) }
      askers.each(&:wait_until_ready)
    end

    # Runs a fault, whose choices depend on the seed of the step.
    def suffer(step)
      Thread.current[:random] = Random.new(step.seed)
      happening = Happening.new(step.fault.name, Chaos.now, Float::INFINITY)
      @happened << happening
      instance_exec(&step.fault.action)
    rescue Chaos::Scene::Impossible, Redis::CommandError => e
      # A key or a group that the fault needs may not exist at this moment.
      happening.name += " (not possible: #{e.message})"
    ensure
      happening.ended = Chaos.now
    end

    # Returns whether Redis may have lost what it confirmed at this time, because it was flushed afterwards.
    def lost_since?(time)
      happened.any? { |happening| happening.name.start_with?("FLUSHALL") && happening.ended >= time }
    end

    def any(list)
      list.sample(random: Thread.current[:random])
    end

    # Leaves out processes that a fault has told to leave.
    def answerers
      super - left
    end

    def askers
      super - left
    end

    # Starts a worker with one part for each kind of calls.
    def add(role, **)
      @lock.synchronize do
        own = TRAFFIC.map.with_index { |traffic, index| settings_of(role, traffic, "#{role}-#{workers.size}-#{index}") }
        journal = File.join(@folder, "#{role}-#{workers.size}")
        worker = Chaos::Worker.new(role, journal, { parts: own }, program: PROGRAM)
        TRAFFIC.zip(own) { |traffic, settings| @parts << Part.new(worker, traffic, role, settings[:journal]) }
        workers << worker
        worker
      end
    end

    # Ends one role's processes. @return [Array<Chaos::Worker>] those that did not end by themselves
    def end_all(role)
      ending = role == :asker ? askers : answerers
      ending.each(&:finish)
      ending.reject { |worker| worker.wait(TIMEOUT + 15) }
    end

    # Returns the keys that are left in Redis after all have left, and that never expire. Dead letters may be left, and
    # the names of JSON-RPC servers whose connection broke: the next server forgets them when they can get nothing more.
    def keys_left
      admin = place.admin
      keys = admin.scan_each.reject { |key| key.match?(/:(dead(:.*)?|servers)\z/) || key == "elsewhere" }
      keys.select { |key| admin.ttl(key) == -1 }
    end

    # Returns the content of a key for a person to read.
    def look(key)
      admin = place.admin
      case admin.type(key)
      when "zset" then admin.zrange(key, 0, -1, with_scores: true)
      when "list" then admin.lrange(key, 0, 5)
      when "hash" then admin.hgetall(key)
      else admin.type(key)
      end
    end

    # Returns the requests that nobody has answered or dropped.
    def waiting
      admin = place.admin
      counts = TRAFFIC.to_h { |traffic| [traffic.name, traffic.protocol.waiting(admin, traffic.place)] }
      counts.reject { |_, count| count.zero? }
    end

    # Returns the ids of the questions that were given up on.
    def dead_in(traffic)
      traffic.protocol.dead(place.admin, traffic.place)
    end

    # Returns what processes that ended by themselves have left open, by pid.
    def open_things
      lines = workers.reject { |worker| killed.include?(worker) }.to_h do |worker|
        [worker.pid, File.readlines(worker.journal, chomp: true).last.to_s.split("\t").last]
      end
      lines.reject { |_, said| said == "{}" }
    end

    private

    TIMEOUT = 2.0

    def settings_of(role, traffic, file)
      { program: traffic.program.fetch(role), place: traffic.place, group: role == :asker ? "asker" : "answerer",
        journal: File.join(@folder, file), redis_options: place.redis_options, timeout: TIMEOUT, work: 0.002,
        threads: 2, pause: 0.01, interval: 0.05, options: traffic.options.fetch(role, {}) }
    end
  end
end
