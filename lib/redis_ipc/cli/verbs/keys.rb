# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Finds keys that nobody owns.
      # @api private
      class Keys < AdminVerb
        verb "keys"
        summary "list the keys of a stream that nobody owns, or delete them"
        about <<~TEXT
          Lists keys of the stream that no living instance owns and that do not expire soon: inboxes of groups that are
          gone, reply streams of dead instances. With --clean --yes they are deleted. It goes over all keys of the
          server, a few at a time.
        TEXT
        option :clean, "--clean", "delete them, with --yes"
        option :yes, "-y", "--yes", "do it"
        shares :stream, :redis, :json
        ends_with 0 => "there are none, or they were deleted", 1 => "there are some"
        example "redis_ipc keys -s house", "lists them"
        example "redis_ipc keys -s house --clean --yes", "deletes them"

        def run
          terminal.progress("looking at all keys ...")
          cleaned = given[:clean] && given[:yes] ? true : false
          keys = admin.clean(stream_name, dry: !cleaned)
          terminal.progress
          terminal.json? ? terminal.json({ deleted: cleaned, keys: keys }) : tell(keys, cleaned)
          keys.empty? || cleaned ? ExitStatus::FINE : ExitStatus::FINDING
        end

        private

        def tell(keys, cleaned)
          return terminal.say("every key of #{stream_name} has an owner") if keys.empty?

          terminal.say(keys.map { |key| LogText.line(key) })
          terminal.warn("redis_ipc: #{keys.size} #{keys.size == 1 ? "key" : "keys"} deleted") if cleaned
          terminal.warn("redis_ipc: --clean --yes deletes them") unless cleaned
        end
      end
    end
  end
end
