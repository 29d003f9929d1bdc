# frozen_string_literal: true

# Prints the prices that are published to the channels "prices.*", and says when some may be missing.
#
#   ruby -Ilib examples/live/price_ticker.rb
#   redis-cli PUBLISH prices.EUR '{"price":1.17}'

require "redis_ipc"

$stdout.sync = true

# Prices of all currencies. Those of one currency are printed in their order.
class PriceTicker < RedisIPC::Events::Consumer
  pattern "prices.*", json: true

  on_loss { |loss| puts "at most #{loss.at_most || "?"} prices are missing (#{loss.cause})" }
  on_error { |error| warn error.message }

  def call(event)
    puts "#{event.source.delete_prefix("prices.")} #{event["price"]}"
  end
end

PriceTicker.start
puts "ready"
$stdin.read
PriceTicker.stop
