# frozen_string_literal: true

# Takes pictures of the pages that docs/web.md shows.
require "rbconfig"
require_relative "../../spec/support/browser"

IMAGES = File.expand_path("../../docs/images", __dir__)
HOUSE = File.expand_path("../../examples/busy_house/house.rb", __dir__)
# The house has so many seconds until it is looked at. Then the slow group has its queue, and events were lost.
WARM_UP = Integer(ENV.fetch("WARM_UP", 80))

def with_house
  output, input = IO.pipe
  pid = Process.spawn(RbConfig.ruby, "-Ilib", HOUSE, out: input)
  input.close
  address = output.gets[%r{http://\S+}]
  sleep WARM_UP
  yield address
ensure
  Process.kill(:INT, pid)
  Process.wait(pid)
end

def take(browser, name, address, scheme, size)
  browser.scheme(scheme)
  browser.size(*size)
  browser.visit(address)
  File.binwrite(File.join(IMAGES, "#{name}.png"), browser.screenshot)
  puts "docs/images/#{name}.png: #{File.size(File.join(IMAGES, "#{name}.png")) / 1024} KiB"
end

with_house do |address|
  browser = Browser.new
  take(browser, "web_overview", address, "light", [1180, 610])
  take(browser, "web_group", "#{address}group?stream=house&group=bakery", "dark", [1180, 830])
  take(browser, "web_events", "#{address}event_group?stream=orders&group=billing", "light", [375, 860])
ensure
  browser&.stop
end
