# frozen_string_literal: true

require_relative "admin_verb"

module RedisIPC
  module CLI
    # A verb about dead letters: of a group of request/reply, of a queue of JSON-RPC, or of a group of events.
    # @api private
    class DeadVerb < AdminVerb
      # Letters that are read in one page.
      PAGE = 200

      # Declares what these verbs have in common.
      def self.inherited(verb)
        super
        verb.class_eval do
          argument :group, "the group that gave up on them; a queue of JSON-RPC with --rpc"
          option :rpc, "--rpc", "GROUP is a queue of JSON-RPC"
          option :events, "--events NAME", "GROUP handles the events of this stream"
          shares :stream, :redis, :json
        end
      end

      private

      # Neither needs a stream of request/reply.
      def names
        return { queues: [group] } if given[:rpc]

        given[:events] ? { consumers: [given[:events]] } : { streams: [stream_name] }
      end

      def group
        given[:group]
      end

      # @return [String] for people
      def place
        return "the queue #{LogText.of(group)}" if given[:rpc]

        "#{LogText.of(given[:events] || stream_name)}/#{LogText.of(group)}"
      end

      # @return [Array<Admin::DeadLetter>] the newest first
      def letters(limit, match, after: nil)
        page = { limit: limit, match: match, after: after }
        return admin.queue_dead(group, **page) if given[:rpc]

        stream = given[:events] || stream_name
        given[:events] ? admin.event_dead_letters(stream, group, **page) : admin.dead_letters(stream, group, **page)
      end

      # @return [Admin::DeadLetter, nil]
      def letter(id)
        return admin.queue_dead_letter(group, id) if given[:rpc]

        given[:events] ? admin.event_dead_letter(given[:events], group, id) : admin.dead_letter(stream_name, group, id)
      end

      # @param act [Symbol] `:retry` or `:discard`
      # @return [Boolean] whether the letter was there
      def act(act, id)
        return admin.public_send(:"queue_#{act}_dead_letter", group, id) if given[:rpc]
        return admin.public_send(:"event_#{act}_dead_letter", given[:events], group, id) if given[:events]

        admin.public_send(:"#{act}_dead_letter", stream_name, group, id)
      end
    end
  end
end
