# frozen_string_literal: true

require "logger"
require_relative "../event_program"

# Handles events, and notes when each handler began and ended. SIGUSR1 pauses it, and SIGUSR2 lets it go on.
class EventConsumer < Chaos::EventProgram
  def start
    @consumer = consume
    Signal.trap(:USR1) { Thread.new { @consumer.pause } }
    Signal.trap(:USR2) { Thread.new { @consumer.resume } }
  end

  def finish
    @journal.stats(@consumer.stats)
    @consumer.stop(timeout: 2)
  end

  private

  def consume
    RedisIPC::Events.consume(stream: STREAM, group: GROUP, from: :beginning, redis_options: redis_options,
                             logger: Logger.new(IO::NULL), on_error: @journal.method(:told),
                             on_loss: @journal.method(:missed), order: @settings[:order].to_sym,
                             concurrency: { threads: 3 }, **@settings[:options]) { |event| handle(event) }
  end

  def handle(event)
    id = event["id"]
    @journal.began(id, event.attempt, event.fence)
    Process.kill(:KILL, Process.pid) if event["poison"]
    sleep(id.end_with?(*Array(@settings[:slow])) ? @settings[:slow_work] : @settings[:work])
    @journal.done(id)
  end
end

EventConsumer.run if $PROGRAM_NAME == __FILE__
