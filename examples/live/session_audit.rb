# frozen_string_literal: true

# Prints which sessions have timed out, and which were ended: keys "session:*" that expire or are deleted.
#
#   redis-cli CONFIG SET notify-keyspace-events Kxg
#   ruby -Ilib examples/live/session_audit.rb
#   redis-cli SET session:7 x PX 10

require "redis_ipc"

$stdout.sync = true

# The ends of sessions.
class SessionAudit < RedisIPC::Events::Consumer
  keys "session:*", on: %i[expired del]

  on_loss { |loss| puts "at most #{loss.at_most || "?"} ends are missing since #{loss.since}" }
  on_error { |error| warn error.message }

  on(:expired) { |event| puts "#{event.key} has timed out" }
  on(:del) { |event| puts "#{event.key} was ended" }
end

begin
  SessionAudit.start
rescue RedisIPC::ConfigurationError => e
  abort e.message
end
puts "ready"
$stdin.read
SessionAudit.stop
