# frozen_string_literal: true

# A cache of users in memory. A user that has changed in Redis is dropped from it, and all of them are if a change may
# have been missed. It prints the users whose numbers it reads.
#
#   ruby -Ilib examples/live/tracked_cache.rb
#   redis-cli HSET user:7 name Ann

require "redis"
require "redis_ipc"

$stdout.sync = true

# Values by key. A value that is dropped while it is read is not kept: it may be older than what made it be dropped.
class Cache
  def initialize
    @values = {}
    @reading = {}
    @lock = Mutex.new
  end

  def fetch(key)
    mine = Object.new
    @lock.synchronize do
      return @values[key] if @values.key?(key)

      @reading[key] = mine
    end
    value = yield
    @lock.synchronize { @values[key] = value if mine.equal?(@reading[key]) }
    value
  end

  def delete(key)
    @lock.synchronize { [@values, @reading].each { |kept| kept.delete(key) } }
  end

  def clear
    @lock.synchronize { [@values, @reading].each(&:clear) }
  end
end

USERS = Cache.new

# Drops what has changed. A flush is a loss, too, so its event, which has no key, drops nothing more.
class Invalidations < RedisIPC::Events::Consumer
  tracking "user:*"

  on_loss do |loss|
    USERS.clear
    puts "dropped all: #{loss.cause}"
  end
  on_error { |error| warn error.message }

  def call(event)
    USERS.delete(event.key)
    puts "dropped #{event.key}" if event.key
  end
end

# It is started before anything is read, so nothing is cached whose change would not be told.
Invalidations.start
redis = Redis.new
puts "ready"
while (number = $stdin.gets&.chomp)
  key = "user:#{number}"
  puts USERS.fetch(key) { redis.hget(key, "name").tap { puts "read #{key}" } }.inspect
end
Invalidations.stop
