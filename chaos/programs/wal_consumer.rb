# frozen_string_literal: true

require_relative "event_consumer"

# Handles what a log has, and notes when each handler of a row of `entries` began and ended.
class WalConsumer < EventConsumer
  # Counts rows of this key, and notes how many there were every so often.
  LARGE = "large"
  TOGETHER = 1_000

  def start
    @large = Hash.new(0)
    @lock = Mutex.new
    super
  end

  def finish
    @lock.synchronize { note_large }
    super
  end

  private

  def source
    { wal: @settings[:url], slot: @settings[:slot], retry_on: { Failure => { wait: 0.05 } } }
  end

  def handle(event)
    return unless event.type == "entries.insert"
    return count if event["key"] == LARGE

    id = id_of(event)
    commit = event.position.split("/").map { |part| part.to_i(16) }
    @journal.committed(id, (commit.first << 32) + commit.last, event.transaction.index)
    die(event, :before)
    super
    die(event, :after)
  end

  def id_of(event)
    "#{event["key"]}/#{event["number"]}"
  end

  # Ends the process at a change that is at such a place in its transaction, if nobody has done that yet.
  def die(event, moment)
    place, wanted, mark = @settings[:dies]&.values_at(:place, :moment, :mark)
    return unless wanted == moment.name && at?(event.transaction, place)

    File.delete(mark)
    Process.kill(:KILL, Process.pid)
  rescue Errno::ENOENT
    nil
  end

  def at?(transaction, place)
    case place
    when "first" then transaction.index.zero?
    when "last" then transaction.last?
    else transaction.index.positive? && !transaction.last?
    end
  end

  def count
    @lock.synchronize do
      @large[:count] += 1
      note_large if (@large[:count] % TOGETHER).zero?
    end
  end

  def note_large
    @journal.large(@large[:count] - @large[:noted])
    @large[:noted] = @large[:count]
  end
end

WalConsumer.run if $PROGRAM_NAME == __FILE__
