# frozen_string_literal: true

# The child: does as it is told three times out of four, and throws a tantrum otherwise.
require "redis_ipc"

$stdout.sync = true # what is said is heard at once, also through a pipe

TANTRUMS = [
  "NO! I did that YESTERDAY!",
  "You are not my real power supply!",
  "I am in the middle of a level!",
  "Why is it ALWAYS me?!"
].freeze

stream = RedisIPC::Stream.new("electric_household", "child")

stream.on_request do |entry|
  chore = entry.content[:chore]
  if rand < 0.75
    fulfill_request(entry, content: { done: chore, mood: %w[cheerful sleepy proud].sample })
  else
    reject_request(entry, content: TANTRUMS.sample)
  end
end
stream.on_error { |exception| warn "child: #{exception.message}" }
stream.connect

puts "ready"
$stdin.gets # until the household closes the door
stream.disconnect
