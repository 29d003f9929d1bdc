# frozen_string_literal: true

require_relative "dead_verb"

module RedisIPC
  module CLI
    # A verb that retries or discards dead letters: some by their ids, or all.
    # @api private
    module DeadActVerb
      # How many open requests are looked at.
      OPEN = 1_000
      private_constant :OPEN

      # Declares what these verbs have in common.
      def self.included(verb)
        super
        verb.class_eval do
          argument :ids, "the ids of letters", many: true
          option :all, "--all", "all letters of the group"
          option :match, "-m", "--match TEXT", "of all, those with this text in one of their fields"
          option :yes, "-y", "--yes", "do it; with --all it is only said what would be done otherwise"
        end
      end

      # @return [Integer] the exit status
      def run
        raise UsageError, "name letters by their ids, or say --all" unless given[:ids].any? ^ given[:all]
        raise UsageError, "--match goes with --all" if given[:match] && !given[:all]

        given[:all] ? act_on_all : act_on(given[:ids])
      end

      private

      def act_on(ids)
        gone = ids.reject { |id| act(self.class::ACT, id) }
        told(ids.size - gone.size)
        gone.each { |id| terminal.warn("redis_ipc: there is no dead letter #{LogText.of(id)} of #{place}") }
        gone.empty? ? ExitStatus::FINE : ExitStatus::FINDING
      end

      # Others may add letters meanwhile, so those are taken that are there at first.
      def act_on_all
        ids = all_ids
        return dry(ids) unless given[:yes]

        done = ids.each_with_index.count do |id, index|
          terminal.progress("#{index} of #{ids.size}") if (index % 100).zero?
          act_or_tell(id)
        end
        terminal.progress
        told(done)
        ExitStatus::FINE
      end

      # One that never was a request stops none of the others.
      def act_or_tell(id)
        act(self.class::ACT, id)
      rescue MalformedEntryError => e
        terminal.warn("redis_ipc: #{LogText.line(e.message)}")
        false
      end

      # Leaves out the marks of requests that were taken over and may still be answered.
      def all_ids
        found = []
        loop do
          page = letters(DeadVerb::PAGE, given[:match], after: found.last&.id)
          found.concat(page)
          return (found - open_suspects(found)).map(&:id) if page.size < DeadVerb::PAGE
        end
      end

      def open_suspects(letters)
        suspects = letters.select(&:suspect?)
        return [] if suspects.empty?

        open = admin.requests(stream_name, group, limit: OPEN).map(&:redis_id)
        suspects.select { |letter| open.include?(letter.redis_id) }
      end

      def dry(ids)
        return terminal.json({ found: ids.size, done: 0 }) if terminal.json?

        terminal.say("#{ids.size} dead letters of #{place} would be #{self.class::DONE}; --yes does it")
      end

      def told(count)
        return terminal.json({ done: count }) if terminal.json?

        terminal.say("#{self.class::DONE} #{count} #{count == 1 ? "dead letter" : "dead letters"} of #{place}")
      end
    end
  end
end
