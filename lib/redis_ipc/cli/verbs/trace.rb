# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Says where a request is.
      # @api private
      class Trace < AdminVerb
        verb "trace"
        summary "say where a request is: waiting, running, given up on"
        about <<~TEXT
          Looks for a request in the inboxes and dead letters of all groups of the stream, and in what instances say
          about themselves. A request that was answered leaves no trace. ID is the request's id, as errors name it, or
          Redis's id.
        TEXT
        argument :id, "the id of the request"
        shares :stream, :redis, :watch, :json
        ends_with 0 => "there is a trace of it", 1 => "there is none"
        example "redis_ipc trace 9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d -s house", "looks for a request"

        STATES = { waiting: "waits in the inbox", taken: "was taken",
                   withdrawn: "was taken, and is not wanted any more" }.freeze
        private_constant :STATES

        def run
          trace = admin.trace(stream_name, given[:id])
          if terminal.json?
            terminal.json(trace.to_h, lines: !given[:watch].nil?)
          else
            none = "there is no trace of #{LogText.of(given[:id])} on #{LogText.of(stream_name)}"
            terminal.say(trace.found? ? lines(trace) : none)
          end
          trace.found? ? ExitStatus::FINE : ExitStatus::FINDING
        end

        private

        def lines(trace)
          lines = [*trace.requests.map { |one| request(one) }, *holder(trace),
                   *trace.dead_letters.map { |one| dead(one) },
                   *trace.incidents.map { |one| "#{clock(one.at)} #{one.kind}: #{one.text}" }]
          lines.map { |line| LogText.line(line) }
        end

        def request(one)
          delivery = ", delivery #{one.delivery}" if one.delivery
          "#{one.redis_id} from #{one.from} to #{one.group}: #{STATES.fetch(one.state, one.state)}#{delivery}; sent " \
            "#{Units.duration(one.age)} ago#{deadline(one.expires_in)}"
        end

        def deadline(left)
          return if left.nil?
          return ", and its deadline passed #{Units.duration(-left)} ago" if left.negative?

          ", and #{Units.duration(left)} are left"
        end

        def holder(trace)
          holder = trace.holder or return []
          alive = holder.alive? ? "" : ", which is dead"
          running = trace.running
          return ["held by #{holder.name} (#{holder.id})#{alive}"] unless running

          frame = " at #{running.frame}" if running.frame
          ["runs in #{holder.name} (#{holder.id})#{alive} for #{Units.duration(running.age)}#{frame}"]
        end

        def dead(letter)
          "given up on at #{clock(letter.died_at)} as dead letter #{letter.id} of #{letter.group}, after " \
            "#{letter.deliveries} #{letter.deliveries == 1 ? "delivery" : "deliveries"}: #{letter.reason}"
        end
      end
    end
  end
end
