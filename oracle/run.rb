# frozen_string_literal: true

module Oracle
  # One run of a schedule.
  class Run
    # The seconds in which service must be back after the last fault, and the seconds that it must then hold.
    RECOVERY = 20
    CALM = 3

    attr_reader :failures, :figures, :told, :happened

    def initialize(seed, seconds)
      @schedule = Schedule.new(seed)
      @seconds = seconds
      @failures = []
    end

    # @return [Run] self, when all is over
    def run
      Dir.mktmpdir("redis_ipc_oracle") do |folder|
        @world = World.new(folder)
        @world.start
        suffer
        recover
        conclude
      ensure
        @world.stop
      end
      self
    end

    private

    def suffer
      deadline = Chaos.now + @seconds
      lanes = Schedule::LANES.map do |lane|
        Thread.new { @schedule.run(lane, deadline) { |step| @world.suffer(step) } }
      end
      lanes.each { |thread| thread.report_on_exception = false }
      lanes.each(&:value)
      @happened = @world.happened
    end

    # Waits until every asker is served again, and then for the time in which every call must be answered.
    def recover
      quiet = Chaos.now
      Chaos.eventually(timeout: RECOVERY, every: 0.5) { audits.all? { |audit| audit.served_since?(quiet) } }
      @calm = Chaos.now
      sleep CALM
    rescue RuntimeError
      @failures << "not everybody is served #{RECOVERY} s after the last fault"
    end

    def conclude
      finish(:asker)
      await_the_rest
      finish(:answerer)
      all = audits
      @figures = all.zip(TRAFFIC).to_h { |audit, traffic| [traffic.name, audit.figures] }
      @told = all.flat_map(&:told)
      @failures.concat(all.flat_map(&:failures), unanswered(all), left_open)
    end

    def finish(role)
      @world.end_all(role).each { |worker| @failures << "#{role} #{worker.pid} did not end of itself" }
    end

    # Waits for the requests of askers that were killed, which the answerers may still run.
    def await_the_rest
      Chaos.eventually(timeout: RECOVERY, every: 0.2) { @world.waiting.empty? }
    rescue RuntimeError
      @failures << "requests are left: #{@world.waiting}"
    end

    def audits
      TRAFFIC.map do |traffic|
        Audit.new(traffic, Chaos::Books.new(@world.parts.select { |part| part.traffic == traffic }), @world)
      end
    end

    def unanswered(audits)
      return [] unless @calm

      late = audits.flat_map { |audit| audit.unanswered_since(@calm) }
      late.empty? ? [] : ["#{late.size} calls failed when all was calm: #{late.map(&:kind).tally}"]
    end

    def left_open
      keys = @world.keys_left
      [*("keys that would never expire: #{keys.first(10).to_h { |key| [key, @world.look(key)] }}" if keys.any?),
       *@world.open_things.map { |pid, things| "process #{pid} left open: #{things}" }]
    end
  end
end
