# frozen_string_literal: true

require_relative "../logs_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists the replication slots of the databases that consumers of PostgreSQL's log use.
      # @api private
      class EventsSlots < LogsVerb
        verb "events slots"
        summary "list PostgreSQL's replication slots, and what they keep"
        about <<~TEXT
          Lists the logical replication slots of the databases of PostgreSQL whose logs the consumers of the Rails
          application in this folder read; with FILES, those that are defined in these Ruby files. The slots that keep
          the most of the log come first. Nothing is changed.
        TEXT
        argument :files, "Ruby files that define consumers", many: true
        shares :application, :json
        ends_with 1 => "there is no consumer of PostgreSQL's log"
        example "redis_ipc events slots consumers.rb", "lists the slots of the servers that this file's consumers read"

        TITLES = %w[slot database status pid confirmed lag retained consumer].freeze
        private_constant :TITLES

        def run
          looking do |setups|
            slots = Events::Hosting.slots(setups)
            if terminal.json?
              terminal.json(slots.map(&:to_h))
            else
              terminal.say(terminal.table(TITLES, slots.map { |slot| cells(slot) }))
            end
            ExitStatus::FINE
          end
        end

        private

        def cells(slot)
          [slot.slot, slot.database, slot.status, slot.pid, slot.confirmed, bytes(slot.lag), bytes(slot.retained),
           (slot.consumers.join(", ") unless slot.consumers.empty?)]
        end

        def bytes(count)
          count && ByteSize.of(count)
        end
      end
    end
  end
end
