# frozen_string_literal: true

require_relative "../chaos/chaos"

# Breaks everything at random under load, by a schedule that a seed makes. Afterwards it compares the promises to each
# call with what the handlers did. A row of bin/chaos examines one fault in depth; this finds what only several faults
# do together.
module Oracle
  # One kind of calls, which every process makes or answers.
  # * `program`: the program of bin/chaos, by role
  # * `place`: the stream or the queue
  # * `once`: whether a request may run only once
  # * `options` of the gem, by role
  # * `protocol`: one of Chaos::Protocols
  Traffic = Struct.new(:name, :program, :protocol, :place, :once, :options, keyword_init: true)

  STREAM = { protocol: Chaos::Protocols::Streams,
             program: { asker: "StreamAsker", answerer: "StreamAnswerer" } }.freeze
  JSON_RPC = { protocol: Chaos::Protocols::JSONRPC,
               program: { asker: "JSONRPCAsker", answerer: "JSONRPCAnswerer" } }.freeze
  # The lease is shorter than usual, so that a schedule of minutes has takeovers.
  LEASE = 1.0

  # The faults of bin/chaos act on the stream and the group of the first kind.
  TRAFFIC = [
    Traffic.new(name: "streams, at least once", **STREAM, place: "house", once: false,
                options: { answerer: { consumer: { lease: LEASE } } }),
    Traffic.new(name: "streams, at most once", **STREAM, place: "house_once", once: true,
                options: { answerer: { consumer: { delivery: "at_most_once", lease: LEASE } } }),
    Traffic.new(name: "JSON-RPC, at least once", **JSON_RPC, place: "desk", once: false,
                options: { answerer: { lease: LEASE } }),
    Traffic.new(name: "JSON-RPC, at most once", **JSON_RPC, place: "desk_once", once: true,
                options: { answerer: { guarantee: "at_most_once" } })
  ].freeze
end

require_relative "place"
require_relative "schedule"
require_relative "world"
require_relative "audit"
require_relative "run"
