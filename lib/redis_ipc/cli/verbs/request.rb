# frozen_string_literal: true

module RedisIPC
  module CLI
    module Verbs
      # Asks a group.
      # @api private
      class Request < Verb
        verb "request"
        summary "ask a group, and print its answer"
        about <<~TEXT
          Sends a request to GROUP and prints the value that it is answered with, as JSON. The reason of a rejection
          goes to standard error.

          For this it joins the stream as a group of its own, which answers nothing. A user of Redis with ACL rules
          needs those of an asker of that group: redis_ipc acl print asker --help.
        TEXT
        argument :group, "the group to ask"
        argument :content, "the content (null); - reads it from standard input", title: "JSON", optional: true
        option :event, "-e", "--event NAME", "trigger this event of a channel; the content is its params, an object"
        option :text, "-T", "--text", "the content is text and no JSON, and an answer that is text is printed as it is"
        option :timeout, "-t", "--timeout SECONDS", "the answer must come within so long (5)",
               type: Float, default: 5.0, over: 0
        option :as, "-a", "--as GROUP", "the group that asks (redis_ipc)", default: "redis_ipc"
        shares :stream, :redis, :json
        ends_with 3, 4, 5, 0 => "the request was fulfilled"
        example %q(redis_ipc request kitchen '{"dish":"pasta"}' --stream house), "asks the group kitchen"
        example %q(redis_ipc request kitchen '{"dish":"pasta"}' -e cook -s house --json | jq .seconds),
                "triggers the event cook of a channel, and prints how long that took"

        def run
          asker = RedisIPC::Stream.new(stream_name, given[:as])
          asker.on_error { |error| terminal.warn("redis_ipc: #{LogText.line(error.message)}") }
          content = self.content
          asker.connect(redis_options: redis_options)
          begin
            ask(asker, content)
          ensure
            asker.disconnect
          end
        end

        private

        def content
          value = given[:text] ? text : json_of(given[:content] || "null", "the content")
          return value unless given[:event]
          raise UsageError, "with --event the content is an object of params" unless value.nil? || value.is_a?(Hash)

          { event: given[:event], params: value || {} }
        end

        def text
          given[:content] == "-" ? $stdin.read : given[:content].to_s
        end

        def ask(asker, content)
          started = Monotonic.now
          response = asker.send_to_group(content: content, to: given[:group], timeout: given[:timeout])
          seconds = Monotonic.now - started
          overload = response.overload
          raise overload if overload

          terminal.json? ? show_json(response, seconds) : show(response)
          response.fulfilled? ? ExitStatus::FINE : ExitStatus::REJECTED
        end

        def show_json(response, seconds)
          answer = response.fulfilled? ? { value: response.value } : { reason: response.reason, error: response.error }
          terminal.json({ outcome: response.status, **answer.compact, seconds: seconds.round(6), id: response.id,
                          instance: response.instance_id })
        end

        def show(response)
          content = response.content
          text = given[:text] && content.is_a?(String) ? terminal.plain(content) : terminal.pretty(content)
          return terminal.say(text) if response.fulfilled?

          error = response.error && " (#{LogText.line(response.error)})"
          terminal.warn("redis_ipc: #{LogText.of(response.source_group)} rejected the request#{error}:\n#{text}")
        end
      end
    end
  end
end
