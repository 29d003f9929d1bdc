# frozen_string_literal: true

require_relative "../answerer"

module RedisIPC
  module CLI
    module Verbs
      # Answers the requests to a group.
      # @api private
      class Serve < Verb
        include Answerer

        verb "serve"
        summary "answer the requests to a group, by an echo or a program"
        about <<~TEXT
          Joins GROUP and answers its requests, until Ctrl-C. It prints a line for each request. Where other processes
          serve the group, it gets its share of the requests.

          The program of --exec reads the content as JSON from standard input. What it writes to standard output is the
          answer: JSON, or else text. If its status is not 0, the request is rejected with what it wrote to standard
          error. It is killed at the deadline of the request. Its environment has REDIS_IPC_ID, REDIS_IPC_FROM (the
          group that asks), REDIS_IPC_DELIVERY, and REDIS_IPC_EVENT if a channel's event is asked for.
        TEXT
        argument :group, "the group to join"
        shares :stream, :redis, :json
        endless
        ends_with 0 => "it was interrupted, or has answered --count requests"
        example "redis_ipc serve kitchen --echo --stream house", "answers so that an asker can be tried"
        example "redis_ipc serve kitchen -s house --exec 'jq {dish: .dish, done: true}'", "answers with a program"

        private

        def serve
          answer = method(:answer)
          stream = RedisIPC::Stream.new(stream_name, given[:group])
          stream.on_request { |entry| answer.call(entry) }
          stream.on_error { |error| terminal.warn("redis_ipc: #{LogText.line(error.message)}") }
          stream.connect(redis_options: redis_options, consumer: { pool_size: given[:threads] })
          terminal.warn("redis_ipc answers #{stream.description}")
          @signals.wait
        ensure
          stream&.disconnect
        end

        def answer(entry)
          started = Monotonic.now
          fulfilled, content = @program ? @program.run(*input(entry)) : [true, entry.content]
          fulfilled ? entry.fulfill(content) : entry.reject(content)
          delivery = " (delivery #{entry.deliveries})" if entry.deliveries > 1
          tell({ from: entry.source_group, id: entry.id, delivery: entry.deliveries },
               "#{LogText.of(entry.source_group)} #{entry.id}#{delivery}", fulfilled, [entry.content, content],
               Monotonic.now - started)
          count
        end

        # @return [Array] the arguments of {Program#run}
        def input(entry)
          content = entry.content
          event = content[:event] if content.is_a?(Hash)
          environment = { "REDIS_IPC_ID" => entry.id, "REDIS_IPC_FROM" => entry.source_group,
                          "REDIS_IPC_DELIVERY" => entry.deliveries.to_s,
                          "REDIS_IPC_EVENT" => (event if event.is_a?(String)) }
          [JSON.generate(content), time_left(entry), environment]
        end

        # Returns the seconds for the program, by Redis's clock. A little is left to tell the asker that they are over.
        def time_left(entry)
          received = entry.redis_id.to_i / 1000.0
          left = [entry.deadline.to_f - received - entry.age, 0].max
          left - [left / 10, 0.1].min
        end
      end
    end
  end
end
