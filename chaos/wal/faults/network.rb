# frozen_string_literal: true

module Chaos
  module Wal
    # The connection breaks, or says nothing.
    module Table
      CuttingProxy::PLACES.each do |where|
        fault "the connection cut #{where} every kind of message", pause: 2 do
          place.proxy.cut_at(CuttingProxy::KINDS.map { |kind| [kind, where] })
          cut_wal
          await_cuts
        end
      end

      # What came of the transaction before is known when it comes again.
      fault "the connection cut after the third change of a transaction, 10 times", loads: LOADS.keys, pause: 2 do
        place.proxy.cut_at(Array.new(10) { [:insert, :after, 2] })
        await_cuts
      end

      { "the network cut" => :both, "a server that is not heard" => :server, "a consumer that is not heard" => :client }
        .each do |what, silenced|
          fault "#{what} for 4 s", pause: 4 do
            place.proxy.behave(:drop, silenced)
            stand 4
            place.proxy.behave(:pass)
          end
        end

      fault "each byte by itself for 3 s", pause: 2 do
        place.proxy.behave(:dribble)
        stand 3
        place.proxy.behave(:pass)
      end
    end
  end
end
