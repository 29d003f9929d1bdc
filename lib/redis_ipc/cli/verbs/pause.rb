# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Tells a group to take nothing new.
      # @api private
      class Pause < AdminVerb
        verb "pause"
        summary "tell a group to take nothing new"
        about <<~TEXT
          All instances of GROUP, and those that join later, take no new requests until redis_ipc resume; what runs
          ends normally. They look every ten seconds. With --instance one instance is told so, before it is stopped.
          GROUP may also be that of a consumer of events: name its stream with --stream.
        TEXT
        argument :group, "the group"
        option :instance, "-i", "--instance ID", "this instance only; the beginning of its id is enough"
        option :by, "--by NAME", "who does it (you)"
        shares :stream, :redis, :json
        ends_with 0 => "it is paused", 1 => "there is no such instance"
        example "redis_ipc pause kitchen -s house", "nothing new is begun in the group"
        example "redis_ipc pause kitchen -s house --instance 2f6c81", "takes one instance out before a deploy"

        def run
          return pause_instance if given[:instance]

          changed = admin.pause(stream_name, given[:group], by: actor)
          tell(changed, "#{place} takes nothing new, within ten seconds", "#{place} was paused before")
        end

        private

        def pause_instance
          id = instance_id or return ExitStatus::FINDING
          changed = admin.quiet(stream_name, given[:group], id, by: actor)
          shown = LogText.line(id)
          tell(changed, "#{shown} takes nothing new, within ten seconds", "#{shown} was paused before")
        end

        def place
          "#{stream_name}/#{LogText.of(given[:group])}"
        end

        def tell(changed, text, before)
          return terminal.json({ changed: changed }) if terminal.json?

          terminal.say(changed ? text : before)
        end

        # @return [String, nil]
        def instance_id
          found = admin.instances(stream_name, group: given[:group]).map(&:id)
                       .select { |id| id.start_with?(given[:instance]) }
          return found.first if found.one?

          many = found.empty? ? "no instance" : "more than one instance"
          terminal.warn("redis_ipc: #{many} of #{place} has an id that begins with #{LogText.of(given[:instance])}")
          nil
        end
      end
    end
  end
end
