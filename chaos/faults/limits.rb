# frozen_string_literal: true

module Chaos
  # Redis closes a connection over one message that exceeds a limit. Other messages must not suffer from it.
  module Table
    streams = { protocol: Protocols::Streams, rejected: /\Arejected RedisIPC::CommandError/ }
    json_rpc = { protocol: Protocols::JSONRPC, rejected: /\Arejected -32603/ }

    { "" => streams, "JSON-RPC: " => json_rpc }.each do |prefix, by|
      row = { protocol: by[:protocol], outage: false, timeout: 5, alone: "asks what is too large" }

      # Redis names the command that it refuses, or closes the connection without a word.
      { "proto-max-bulk-len" => /\Afailed CommandError not_sent/,
        "client-query-buffer-limit" => /\A(failed CommandError|timed_out unknown)/ }.each do |limit, failed|
        ends = { "answers-too-large" => [by[:rejected], 4], "requests-too-large" => [failed, 4] }
        fault "#{prefix}answers and requests over #{limit}",
              **row, promise: Promises::WhatIsTooLargeFailsAlone.new(ends, within: 9) do
          under_limit(limit, "1mb") do
            ask_much [{ name: "answers-too-large", times: 4, answer: 2_000_000 },
                      { name: "requests-too-large", times: 4, question: 1_100_000 }]
          end
        end
      end

      ends = { "large" => [/\Aanswered/, 24], "answers-too-large" => [/\A(failed MalformedEntry|timed_out unknown)/, 2],
               "requests-too-large" => [/\Atimed_out unknown/, 2] }
      fault "#{prefix}large answers and requests under client-output-buffer-limit",
            **row, promise: Promises::WhatIsTooLargeFailsAlone.new(ends, within: 9) do
        under_limit("client-output-buffer-limit", "normal 4mb 4mb 0") do
          ask_much [{ name: "large", times: 12, answer: 1_000_000 }, { name: "large", times: 12, question: 1_000_000 },
                    { name: "answers-too-large", times: 2, answer: 5_000_000 },
                    { name: "requests-too-large", times: 2, question: 5_000_000 }]
        end
      end
    end
  end
end
