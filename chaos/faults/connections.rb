# frozen_string_literal: true

module Chaos
  # The server closes or refuses connections.
  module Table
    fault "CLIENT KILL of everything, 15 times", quick: true, outage: false do
      again_and_again(15, every: 0.1) { redis "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes" }
    end

    # The asking processes ask at the beginning of each period, and are silent for longer than the timeout after that.
    { "" => Protocols::Streams, "JSON-RPC: " => Protocols::JSONRPC }.each do |prefix, protocol|
      fault "#{prefix}the server closes what is idle (timeout 1), bursts and pauses",
            place: -> { Place.new(timeout: 1) }, protocol: protocol, outage: false, timeout: 5, calm: true,
            alone: "needs pauses",
            settings: { asker: { pulse: 0.5 } }, promise: Promises::NothingIsNoticed.new do
        stand Period.left
        stand 3 * Period::SECONDS
      end
    end

    fault "the password rotated 3 times (a Proc)", place: -> { RotatingPlace.new }, outage: false,
                                                   alone: "needs a password" do
      again_and_again(3, every: 0.5) { place.rotate }
    end

    fault "CLIENT PAUSE for 1.5 s" do
      redis "CLIENT", "PAUSE", 1500, "ALL"
      # Redis itself answers this only after the pause.
      redis "PING"
    end

    fault "no connection is left (maxclients)", quick: true do
      before = redis("CONFIG", "GET", "maxclients").last
      redis "CONFIG", "SET", "maxclients", 1
      redis "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
      stand 1.5
      redis "CONFIG", "SET", "maxclients", before
    end

    fault "rights revoked (NOPERM)", place: -> { GuardedPlace.new }, quick: true do
      redis "ACL", "SETUSER", Guarded::USER, "-@all"
      stand 1.5
      place.admit
    end

    fault "the right to answer revoked (XADD)", place: -> { GuardedPlace.new } do
      redis "ACL", "SETUSER", Guarded::USER, "-xadd"
      stand 1.5
      place.admit
    end

    fault "the user deleted", place: -> { GuardedPlace.new } do
      redis "ACL", "DELUSER", Guarded::USER
      stand 1.5
      place.admit
    end

    fault "no memory (OOM at maxmemory)", quick: true do
      redis "CONFIG", "SET", "maxmemory", 1
      stand 1.5
      redis "CONFIG", "SET", "maxmemory", 0
    end
  end
end
