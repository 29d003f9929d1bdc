# frozen_string_literal: true

require_relative "../numbering_program"
require "pg"

# Writes numbered rows, those of a batch in a transaction. After an error it connects again.
class WalWriter < Chaos::NumberingProgram
  # Every so many transactions there is one of another kind, so that every kind of message comes.
  OTHERS = 20

  private

  def publish(some, number, index)
    write(some, number)
    other(index) if (index % OTHERS).zero?
  end

  def connection
    @connection ||= PG.connect(**@settings[:writing], connect_timeout: 2)
  end

  def disconnect
    @connection&.close
    @connection = nil
  end

  def write(some, number)
    ids = some.map { |key| "#{key}/#{number}" }
    rows = some.map { |key| "('#{key}', #{number}, repeat('x', 100))" }
    sent = @journal.now
    connection.exec("INSERT INTO entries VALUES #{rows.join(", ")}")
    ids.each { |id| @journal.published(id, "-", sent) }
  rescue PG::Error => e
    ids.each { |id| @journal.unpublished(id, e) }
    disconnect
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
    disconnect
  end
end

WalWriter.run if $PROGRAM_NAME == __FILE__
