# frozen_string_literal: true

# The parent: asks the child for chores, and then somebody who does not exist.
require "redis_ipc"

$stdout.sync = true # what is said is heard at once, also through a pipe

CHORES = ["tidy the memory banks", "feed the hamster wheel", "fold the laundry", "defragment the cellar",
          "water the solar panels", "untangle the cables", "polish the antenna", "empty the recycle bin"].freeze

def say(who, text)
  puts "#{who.rjust(8)}: #{text}"
end

stream = RedisIPC::Stream.new("electric_household", "parent")
stream.on_error { |exception| warn "parent: #{exception.message}" }
stream.connect

fulfilled = CHORES.shuffle.count do |chore|
  say "Parent", "Please #{chore}."
  response = stream.send_to_group(content: { chore: chore }, to: "child")
  if response.fulfilled?
    say "Child", "Yes, creators. (#{response.value[:mood]})"
  else
    say "Child", "#{response.reason} *stomps off*"
  end
  response.fulfilled?
end

say "Parent", "#{fulfilled} of #{CHORES.size} chores done. Let us ask the grandparents to take over ..."
begin
  stream.send_to_group(content: { chore: "babysit" }, to: "grandparents", timeout: 1)
rescue RedisIPC::TimeoutError => e
  say "(nobody)", "... only the humming of the fridge. (TimeoutError after 1 s, outcome: #{e.outcome.inspect})"
  say "Parent", "Nobody took the request, so nobody ever will. Good night, household."
end

stream.disconnect
