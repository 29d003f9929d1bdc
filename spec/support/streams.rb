# frozen_string_literal: true

# Makes streams in this process, and disconnects them after the example.
module Streams
  def redis
    RedisServer.shared.client
  end

  # Returns the keys without those of the records, of which the index knows the groups for a week.
  def keys_beside_records(pattern = "*")
    redis.keys(pattern).grep_v(/:stats(:|\z)/)
  end

  def redis_options
    { path: RedisServer.shared.path }
  end

  def streams
    @streams ||= []
  end

  # Returns a connected stream. The block is its handler.
  def connect(group, stream: "house", **options, &handler)
    opened = build(group, stream: stream, &handler)
    opened.connect(redis_options: redis_options, **options)
  end

  # Returns a stream that is not connected. Its errors go to `errors`.
  def build(group, stream: "house", &handler)
    opened = RedisIPC::Stream.new(stream, group)
    opened.on_request(&handler) if handler
    kept = errors
    opened.on_error { |error| kept << error }
    streams << opened
    opened
  end

  # Returns the errors that `on_error` of this example's streams got.
  def errors
    @errors ||= Queue.new
  end

  # Returns a handler that answers with the content of the request.
  def echo
    proc { |entry| fulfill_request(entry, content: entry.content) }
  end

  # Returns such a handler. It first adds the request to `started`, and answers when the gate opens.
  def held(started, gate)
    proc do |entry|
      started << entry
      gate.pop
      fulfill_request(entry, content: entry.content)
    end
  end

  def disconnect_streams
    streams.each(&:disconnect)
    streams.clear
  end

  def start_server(**settings)
    RedisServer.new(**settings).tap { |server| servers << server }
  end

  def servers
    @servers ||= []
  end

  def stop_servers
    servers.each(&:stop)
    servers.clear
  end
end
