# frozen_string_literal: true

require_relative "../dead_act_verb"

module RedisIPC
  module CLI
    module Verbs
      # Discards dead letters.
      # @api private
      class DeadDiscard < DeadVerb
        include DeadActVerb

        # What it does with each letter.
        ACT = :discard
        # How that is told.
        DONE = "discarded"

        verb "dead discard"
        summary "delete dead letters"
        about <<~TEXT
          Deletes dead letters. If the events of a key wait for a dead letter of a consumer of events, they go on.
        TEXT
        ends_with 0 => "all are discarded", 1 => "one of them was not there"
        example "redis_ipc dead discard kitchen 1795851827288-0 -s house", "deletes one"
        example "redis_ipc dead discard kitchen --all -s house", "says how many there are; with --yes they are deleted"
      end
    end
  end
end
