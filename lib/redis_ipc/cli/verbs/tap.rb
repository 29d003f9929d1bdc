# frozen_string_literal: true

require_relative "../admin_verb"
require_relative "../content_text"

module RedisIPC
  module CLI
    module Verbs
      # Shows requests as they come.
      # @api private
      class Tap < AdminVerb
        verb "tap"
        summary "show the requests to a group as they come"
        about <<~TEXT
          Prints a line for each request that is added to the inbox of GROUP, until Ctrl-C. It takes nothing, and nobody
          notices. A request that is answered and deleted before it is read here is missed: under load that can be many.
          Contents are printed with --content only, because they may be secret.
        TEXT
        argument :group, "the group that is asked"
        option :content, "-c", "--content", "print what was sent"
        option :count, "-n", "--count NUMBER", "end after so many requests", type: Integer, least: 1
        shares :stream, :redis, :json
        endless
        ends_with 0 => "it was interrupted, or has printed --count requests"
        example "redis_ipc tap kitchen -s house", "shows who asks the group, and how often"

        # Seconds that one read waits.
        WAIT = 1.0
        private_constant :WAIT

        def run
          left = given[:count] || Float::INFINITY
          after = nil
          while left.positive?
            read = admin.tap(stream_name, given[:group], after: after, wait: WAIT)
            after = read.after
            shown = read.requests.first([left, read.requests.size].min)
            shown.each { |request| tell(request) }
            left -= shown.size
          end
        end

        private

        def tell(request)
          return tell_json(request) if terminal.json?

          event = " #{request.event}" if request.event
          content = ": #{ContentText.of(request.content, request.text) { |one| JSONText.of(one) }}" if given[:content]
          terminal.say(LogText.line("#{Time.now.strftime("%T")} #{request.from}#{event} #{request.id} " \
                                    "#{request.redis_id}#{content}"))
        end

        def tell_json(request)
          facts = request.to_h.compact
          facts = facts.merge(ContentText.facts(request.content, request.text)) if given[:content]
          terminal.json(facts, lines: true)
        end
      end
    end
  end
end
