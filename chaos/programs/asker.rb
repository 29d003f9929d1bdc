# frozen_string_literal: true

require_relative "../asker"

# Asks by a stream.
class StreamAsker < Chaos::Asker
  private

  def open
    stream = RedisIPC::Stream.new(@settings[:place], @settings[:group])
    stream.on_error(&@journal.method(:told))
    stream.connect(redis_options: redis_options, **@settings[:options])
  end

  def ask(question)
    content_of(@end.send_to_group(**call(question)))
  end

  def ask_later(question)
    @end.async_send_to_group(**call(question)).tap { |future| future.then { @journal.called_back(question[:id]) } }
  end

  def value_of(future)
    content_of(future.response)
  end

  def call(question)
    { content: question, to: "answerer", timeout: @settings[:timeout] }
  end

  def content_of(response)
    response.rejected? ? "rejected #{response.error}" : response.content
  end
end

StreamAsker.run if $PROGRAM_NAME == __FILE__
