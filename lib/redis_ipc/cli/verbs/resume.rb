# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Takes back what {Pause} has told.
      # @api private
      class Resume < AdminVerb
        verb "resume"
        summary "let a group that was paused go on"
        about "Takes back redis_ipc pause. The instances of GROUP look every ten seconds."
        argument :group, "the group"
        option :instance, "-i", "--instance ID", "this instance only; its whole id"
        shares :stream, :redis, :json
        ends_with 0 => "it goes on", 1 => "it was not paused"
        example "redis_ipc resume kitchen -s house", "the group takes requests again"

        def run
          changed = resume
          place = given[:instance] || "#{stream_name}/#{given[:group]}"
          terminal.json({ changed: changed }) if terminal.json?
          terminal.say("#{LogText.line(place)} #{changed ? "goes on" : "was not paused"}") unless terminal.json?
          changed ? ExitStatus::FINE : ExitStatus::FINDING
        end

        private

        def resume
          return admin.resume(stream_name, given[:group]) unless given[:instance]

          admin.unquiet(stream_name, given[:group], given[:instance])
        end
      end
    end
  end
end
