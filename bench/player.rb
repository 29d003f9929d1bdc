# frozen_string_literal: true

# One process of a measurement, started by the harness: `player.rb PEER answer|ask name=value ...`. It prints "ready
# name=value ..." when it is connected, and ends when its standard input is closed. An asker makes calls as each line
# tells it, and prints its figures.
#
# It loads only the peer, so that memory and loading time are the peer's own.

$stdout.sync = true

require_relative "settings"

clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond) }
peer_name, role, *words = ARGV
settings = Bench::Settings.parse(words)

began = clock.call
require_relative "peers/#{peer_name}"
loaded = clock.call
peer = Bench::Peers.const_get(peer_name.split("_").map(&:capitalize).join).new(settings)
pause = settings[:handler_ms] && (settings[:handler_ms] / 1000.0)

began_connecting = clock.call
case role
when "answer" then address = peer.answer { |content| pause ? (sleep(pause) && content) : content }
when "ask" then peer.connect
end
connected = clock.call
puts "ready #{Bench::Settings.format(address: address, require_ms: loaded - began,
                                     connect_ms: connected - began_connecting)}"

while (line = $stdin.gets)
  require_relative "load"
  puts Bench::Settings.format(Bench::Load.run(peer, **Bench::Settings.parse(line.split)))
end
peer.close
