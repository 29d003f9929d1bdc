# frozen_string_literal: true

require_relative "../asker"

# Asks by JSON-RPC; also by batches, each of which is one call, and by notifications, which end once Redis has them.
class JSONRPCAsker < Chaos::Asker
  BATCH = 3

  private

  def open
    client = RedisIPC::JSONRPC::Client.new(@settings[:place], redis_options: redis_options, **@settings[:options])
    client.on_error(&@journal.method(:told)).connect
  end

  def others
    return super if @settings[:threads].zero?

    super << Thread.new { ask_in_turn("batch", &method(:ask_batch)) } <<
      Thread.new { ask_in_turn("notice", &method(:notify)) }
  end

  def ask(question)
    @end.request("echo", [question], timeout: @settings[:timeout])
  rescue RedisIPC::JSONRPC::Error => e
    rejected(e)
  end

  # JSON-RPC has no futures, so a thread takes the place of one.
  def ask_later(question)
    thread = Thread.new do
      ask(question).tap { |answer| @journal.called_back(question[:id]) unless answer.is_a?(String) }
    end
    thread.report_on_exception = false
    thread
  end

  def value_of(thread)
    thread.value
  end

  def ask_batch(question)
    parts = Array.new(BATCH) { |index| { id: "#{question[:id]}.#{index}", nonce: "#{question[:nonce]}.#{index}" } }
    answers = @end.batch(timeout: @settings[:timeout]) { |batch| parts.each { |part| batch.call("echo", part) } }
    error = answers.grep(RedisIPC::JSONRPC::Error).first
    return rejected(error) if error

    right = answers.map { |answer| answer.values_at(:id, :echo) } == parts.map { |part| part.values_at(:id, :nonce) }
    right ? { id: question[:id], echo: question[:nonce] } : "mixed_up"
  rescue RedisIPC::JSONRPC::Error => e
    rejected(e)
  end

  def notify(question)
    @end.notify("echo", question, timeout: @settings[:timeout])
    { id: question[:id], echo: question[:nonce] }
  end

  def rejected(error)
    "rejected #{error.code}"
  end
end

JSONRPCAsker.run if $PROGRAM_NAME == __FILE__
