# frozen_string_literal: true

require "logger"
require_relative "../event_program"
require_relative "../events/effects"

# Handles events, and notes when each handler began and ended. SIGUSR1 pauses it, and SIGUSR2 lets it go on.
class EventConsumer < Chaos::EventProgram
  # What some events fail with.
  class Failure < StandardError; end

  # How often dead letters are tried again, in seconds.
  AGAIN = 0.2

  def start
    @effects = Chaos::Events::Effects.new(@settings[:database]) if @settings[:database]
    @consumer = consume
    Signal.trap(:USR1) { Thread.new { @consumer.pause } }
    Signal.trap(:USR2) { Thread.new { @consumer.resume } }
    @again = Thread.new { try_again } if @settings[:healed]
  end

  def finish
    @again&.kill&.join
    @journal.stats(@consumer.stats)
    @consumer.stop(timeout: 2)
  end

  private

  def consume
    RedisIPC::Events.consume(logger: Logger.new(IO::NULL), on_error: @journal.method(:told),
                             on_loss: @journal.method(:missed), **source, **options) do |given|
      given.is_a?(Array) ? given.each { |event| handle(event) } : handle(given)
    end
  end

  def source
    { stream: STREAM, group: GROUP, from: :beginning, redis_options: redis_options }
  end

  def id_of(event)
    event["id"]
  end

  def options
    options = { concurrency: { threads: 3 }, **@settings[:options], order: order(*@settings[:options][:order]) }
    options[:exactly_once] = ActiveRecord::Base if @effects
    # With a rule, a batch that raises is not split.
    options[:retry_on] = { Failure => { wait: 0.05 } } if @settings[:healed]
    options
  end

  # Its words come as Strings.
  def order(order, more = {})
    [order.to_sym, more.transform_values { |word| word.is_a?(String) ? word.to_sym : word }]
  end

  def handle(event)
    id = id_of(event)
    @journal.began(id, event.attempt, event.fence)
    Process.kill(:KILL, Process.pid) if event["poison"]
    sleep(among?(:slow, id) ? @settings[:slow_work] : @settings[:work])
    raise Failure, "not this time" if among?(:failing, id) && fails?(event)

    @effects ? @effects.add(id, @journal.now) : @journal.done(id)
  end

  def among?(kind, id)
    id.end_with?(*@settings[kind])
  end

  # An event that fails does so the first time, or until it is over.
  def fails?(event)
    @settings[:healed] ? !healed? : event.attempt == 1
  end

  def healed?
    File.exist?(@settings[:healed])
  end

  # Once it is over, somebody has the dead letters tried again: here all processes at once.
  def try_again
    loop do
      sleep AGAIN
      @consumer.dead_letters.each(&:retry) if healed?
    rescue RedisIPC::Error => e
      @journal.told(e)
    end
  end
end

EventConsumer.run if $PROGRAM_NAME == __FILE__
