# frozen_string_literal: true

# Runs events in order by key at full load for some minutes: ruby -Ilib soak/events.rb [minutes]. One process
# publishes, and two consume. One of these is killed every 10 s, and replaced. Each minute the load pauses until all is
# handled; then the processes that live on are measured at rest, and the books are compared.

require "tmpdir"
require_relative "event_processes"

# Starts the processes, measures and judges.
class EventSoak < EventProcesses::Run
  KILL_EVERY = 10
  # Seconds until everything that was published must be handled.
  PATIENCE = 60

  def initialize(minutes, folder)
    super(folder)
    @minutes = minutes
    @published = 0
  end

  def run
    @publisher = EventProcesses::Child.new("publish", @server.path).tap(&:answer)
    @staying, @dying = Array.new(2) { consumer }
    rows = Array.new(@minutes.ceil) { |minute| minute(minute + 1, [60, (@minutes - minute) * 60].min) }
    judge(rows)
  ensure
    [@publisher, @staying, @dying].compact.each(&:finish)
    @server.stop
  end

  private

  def minute(number, seconds)
    before = @books.handled
    began = now
    @published += load(seconds)
    took = drain - began
    Footprint.rest
    row = { minute: number, rate: ((@books.handled - before) / took).round, publisher: @publisher.footprint,
            consumer: @staying.footprint, redis: @server.client.info("memory")["used_memory"].to_i / 1024 }
    show(row)
  end

  # Lets the publisher publish, and kills the same one of the consumers again and again.
  def load(seconds)
    stop_at = now + seconds
    killer = Thread.new { kill_until(stop_at) }
    @publisher.ask(seconds.to_s).to_i.tap { killer.join }
  end

  def kill_until(stop_at)
    while now + KILL_EVERY < stop_at
      sleep KILL_EVERY
      @dying.kill
      @killed += 1
      @dying = consumer
    end
  end

  # Waits until all is handled. Returns when that was.
  def drain
    deadline = now + PATIENCE
    loop do
      @books.add(@files)
      return now if @books.handled >= @published || now > deadline

      sleep 0.1
    end
  end

  def show(row)
    if row[:minute] == 1
      puts "minute  events/s  publisher: MiB used threads files  consumer: MiB used threads files  Redis: KiB  " \
           "handled  again  killed"
    end
    parts = [row[:minute], row[:rate], *row.values_at(:publisher, :consumer).flat_map(&:values), row[:redis],
             @books.handled, @books.reruns, @killed]
    puts parts.zip([6, 10, 16, 5, 8, 6, 15, 5, 8, 6, 12, 9, 7, 8]).map { |part, width| part.to_s.rjust(width) }.join
    row
  end

  def judge(rows)
    wrong = @books.wrong.first(5)
    wrong << "#{@published} were published, and #{@books.handled} handled" if @books.handled != @published
    second = rows[1] || rows.first
    wrong << "#{rows.last[:rate]} events/s after #{second[:rate]}" if rows.last[:rate] < second[:rate] * 0.95
    %i[publisher consumer].each { |side| wrong.concat(Footprint.growth(side, second[side], rows.last[side])) }
    conclude(wrong)
  end
end

$stdout.sync = true
status = Dir.mktmpdir("redis_ipc_soak") { |folder| EventSoak.new(Float(ARGV.fetch(0, 10)), folder).run }
exit(status)
