# frozen_string_literal: true

require "hiredis"
require "json"
require "securerandom"
require_relative "streams/pipe"

module Bench
  module Peers
    # Request and reply over streams as in docs/protocol.md, in plain Ruby with hiredis. It reads by blocking, sends all
    # that waits in one pipeline, and acknowledges in batches. It has no deadlines, leases, checks or reconnection.
    class Streams
      GROUP = "child"
      INBOX = "house:inbox:#{GROUP}".freeze
      # The number of entries that are read at once, the most that are kept, and the ms that a read blocks.
      COUNT = 512
      KEPT = 10_000
      BLOCK = 10_000
      # The gem's default number of consumer threads.
      CONSUMERS = 3

      # A call under way.
      class Call
        def initialize
          @answer = Queue.new
        end

        def finish(text)
          @answer << text
        end

        def value
          JSON.parse(@answer.pop)
        end
      end

      def initialize(settings)
        @port = settings.fetch(:port)
        @consumers = settings.fetch(:workers, CONSUMERS)
        @instance = SecureRandom.hex(16)
      end

      def answer(&handler)
        @pipe = Pipe.new(@port)
        @pipe.run([%W[XGROUP CREATE #{INBOX} #{GROUP} 0 MKSTREAM]])
        requests = Queue.new
        @threads = Array.new(@consumers) { Thread.new { consume(requests, handler) } }
        @threads << Thread.new { read_requests(requests) }
        nil
      end

      def connect
        @pipe = Pipe.new(@port)
        @replies = "house:replies:parent:#{@instance}"
        @calls = {}
        @pipe.run([%W[XGROUP CREATE #{@replies} new $ MKSTREAM], %W[XGROUP DESTROY #{@replies} new]])
        @threads = [Thread.new { read_answers }]
      end

      def call(content)
        ask(content) { |command| @pipe.send(command) }.value
      end

      def start_call(content)
        ask(content) { |command| @pipe.post(command) }
      end

      def close
        exit!(0)
      end

      private

      def ask(content)
        id = SecureRandom.hex(16)
        call = Call.new
        @calls[id] = call
        yield ["XADD", INBOX, "MAXLEN", "~", KEPT, "*", "id", id, "instance_id", @instance, "status", "pending",
               "content", JSON.generate(content), "source_group", "parent", "destination_group", GROUP,
               "reply_to", @replies, "ttl", 5000]
        call
      end

      def read_answers
        reader = Pipe.connect(@port)
        last = "0-0"
        loop do
          reader.write(["XREAD", "COUNT", COUNT, "BLOCK", BLOCK, "STREAMS", @replies, last])
          entries(reader.read).each do |id, fields|
            last = id
            @calls.delete(fields["id"])&.finish(fields["content"])
          end
        end
      end

      def read_requests(requests)
        reader = Pipe.connect(@port)
        loop do
          reader.write(["XREADGROUP", "GROUP", GROUP, @instance, "COUNT", COUNT, "BLOCK", BLOCK,
                        "STREAMS", INBOX, ">"])
          entries(reader.read).each { |entry| requests << entry }
        end
      end

      def consume(requests, handler)
        loop do
          stream_id, request = requests.pop
          content = JSON.generate(handler.call(JSON.parse(request["content"])))
          @pipe.send(["XADD", request["reply_to"], "NOMKSTREAM", "MAXLEN", "~", KEPT, "*", "id", request["id"],
                      "instance_id", @instance, "status", "fulfilled", "content", content, "source_group", GROUP,
                      "destination_group", request["source_group"]], done: stream_id)
        end
      end

      def entries(reply)
        raise reply if reply.is_a?(Exception)

        (reply ? reply.first.last : []).map { |id, flat| [id, Hash[*flat]] }
      end
    end
  end
end
