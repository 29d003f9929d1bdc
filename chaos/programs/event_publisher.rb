# frozen_string_literal: true

require_relative "../numbering_program"

# Publishes numbered events to a stream.
class EventPublisher < Chaos::NumberingProgram
  private

  def publish(some, number, _index)
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
