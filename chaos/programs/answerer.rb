# frozen_string_literal: true

require_relative "../answerer"

# Answers by a stream.
class StreamAnswerer < Chaos::Answerer
  private

  def open
    stream = RedisIPC::Stream.new(@settings[:place], "answerer")
    answer = method(:answer)
    told = @journal.method(:told)
    stream.on_request { |entry| fulfill_request(entry, content: answer.call(entry.content)) }
    stream.on_error(&told)
    stream.connect(redis_options: redis_options, **@settings[:options])
  end
end

StreamAnswerer.run if $PROGRAM_NAME == __FILE__
