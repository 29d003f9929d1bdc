# frozen_string_literal: true

require_relative "../dead_act_verb"

module RedisIPC
  module CLI
    module Verbs
      # Retries dead letters.
      # @api private
      class DeadRetry < DeadVerb
        include DeadActVerb

        # What it does with each letter.
        ACT = :retry
        # How that is told.
        DONE = "retried"

        verb "dead retry"
        summary "put dead letters into their queue again"
        about <<~TEXT
          Puts requests into the inbox of their group again, and has events handled again. The asker of a request does
          not wait any longer, so its answer is dropped. Of those who retry or discard one letter at the same time,
          exactly one succeeds. --all leaves out those that may still be answered.
        TEXT
        ends_with 0 => "all are retried", 1 => "one of them was not there"
        example "redis_ipc dead retry kitchen 1795851827288-0 -s house", "retries one"
        example "redis_ipc dead retry kitchen --all --match IOError -s house --yes",
                "retries all that failed with this error"
      end
    end
  end
end
