# frozen_string_literal: true

require_relative "../event_program"
require "pg"

# Writes numbered rows of several keys, a few in a transaction, so that each key's rows are committed in the order of
# their numbers. After an error it goes on with the next numbers on a new connection.
class WalWriter < Chaos::EventProgram
  PAUSE = 0.02
  # Every so many transactions there is one of another kind, so that every kind of message comes.
  OTHERS = 20

  def start
    @thread = Thread.new { write_all }
    @thread.abort_on_exception = true
  end

  def finish
    @stop = true
    @thread.join
  end

  private

  def write_all
    transactions = (0..).lazy.flat_map { |number| keys.each_slice(@settings[:batch]).map { |some| [some, number] } }
    transactions.take_while { !@stop }.each_with_index do |(some, number), index|
      write(some, number)
      other(index) if (index % OTHERS).zero?
      sleep @settings[:pause]
    end
  end

  def keys
    @keys ||= Array.new(@settings[:keys]) { |index| "#{Process.pid}-#{index}" }
  end

  def connection
    @connection ||= PG.connect(**@settings[:writing], connect_timeout: 2)
  end

  def write(some, number)
    ids = some.map { |key| "#{key}/#{number}" }
    rows = some.map { |key| "('#{key}', #{number}, repeat('x', 100))" }
    sent = @journal.now
    connection.exec("INSERT INTO entries VALUES #{rows.join(", ")}")
    ids.each { |id| @journal.published(id, "-", sent) }
  rescue PG::Error => e
    ids.each { |id| @journal.unpublished(id, e) }
    @connection&.close
    @connection = nil
    sleep PAUSE
  end

  # Those of other kinds have no numbers, and may fail.
  def other(index)
    connection.exec(<<~SQL)
      BEGIN; INSERT INTO scratch VALUES (#{((Process.pid % 10_000) * 100_000) + index}); UPDATE scratch SET id = id WHERE id % 2 = 0;
      SELECT pg_logical_emit_message(true, 'house', 'within'); DELETE FROM scratch WHERE id % 5 = 0; COMMIT;
      SELECT pg_logical_emit_message(false, 'house', 'outside'); TRUNCATE scratch
    SQL
  rescue PG::Error
    @connection&.close
    @connection = nil
  end
end

WalWriter.run if $PROGRAM_NAME == __FILE__
