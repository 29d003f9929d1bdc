# frozen_string_literal: true

# A copy of a Redis hash in memory, which is up to date as long as no message is missing. If one may be, it is read
# again. That is right because a loss is told after the messages before it were handled, and before any after it.
#
#   ruby -Ilib examples/live/reloading_cache.rb
#   redis-cli MULTI; HSET settings color blue; PUBLISH settings '{"color":"blue"}'; EXEC

require "redis"
require "redis_ipc"

$stdout.sync = true

# The settings of an application. Whoever changes one publishes it, in one transaction.
class Settings < RedisIPC::Events::Consumer
  channel "settings", json: true
  order :source

  class << self
    # @return [Hash{String => String}]
    attr_reader :all

    def reload
      @all = Redis.new.hgetall("settings")
      puts "read #{@all.size} settings"
    end
  end

  on_loss { |_loss| Settings.reload }
  on_error { |error| warn error.message }

  def call(event)
    Settings.all.merge!(event.data)
    puts Settings.all.sort.inspect
  end
end

# What is published from here on waits until the settings were read.
Settings.start
Settings.pause
Settings.reload
Settings.resume
puts "ready"
$stdin.read
Settings.stop
