# frozen_string_literal: true

require_relative "../event_program"

# Publishes numbered events of several keys, in batches without two of one key. After an error it goes on with the next
# numbers, so that each key's events are in the order of their numbers in the stream.
class EventPublisher < Chaos::EventProgram
  # A user's program would not publish again at once after an error, either.
  PAUSE = 0.02

  def start
    @thread = Thread.new { publish_all }
    @thread.abort_on_exception = true
  end

  def finish
    @stop = true
    @thread.join
  end

  private

  def publish_all
    batches = (0..).lazy.flat_map { |number| keys.each_slice(@settings[:batch]).map { |some| [some, number] } }
    batches.take_while { !@stop }.each do |some, number|
      publish(some, number)
      sleep @settings[:pause]
    end
  end

  def keys
    @keys ||= Array.new(@settings[:keys]) { |index| "#{Process.pid}-#{index}" }
  end

  def publish(some, number)
    ids = some.map { |key| "#{key}/#{number}" }
    events = some.zip(ids).map { |key, id| { key: key, data: { id: id, **poison(key, number) } } }
    sent = @journal.now
    positions = RedisIPC::Events.publish_all(STREAM, events, redis_options: redis_options,
                                                             **@settings.slice(:partitions))
    ids.zip(positions) { |id, position| @journal.published(id, position, sent) }
  rescue RedisIPC::Error => e
    ids.each { |id| @journal.unpublished(id, e) }
    sleep PAUSE
  end

  # The event of the first key with a number of its own kills each process that handles it.
  def poison(key, number)
    key == keys.first && number == @settings[:poison] ? { poison: true } : {}
  end
end

EventPublisher.run if $PROGRAM_NAME == __FILE__
