# frozen_string_literal: true

# redis-rb returns Strings in this encoding, and a minimal machine has no locale.
Encoding.default_external = Encoding::UTF_8

require "redis"
require "redis_ipc"
require "securerandom"
require "timeout"

Dir[File.join(__dir__, "support", "*.rb")].each { |file| require file }

RSpec.configure do |config|
  config.include Streams
  config.include Consumers
  config.include Processes
  config.include Waiting
  config.order = :random
  config.filter_run_when_matching :focus
  # bin/matrix names the gems that a Ruby lacks. Only then are examples left out.
  without = ENV.fetch("WITHOUT_GEMS", "").split
  config.filter_run_excluding(gem: ->(name) { without.include?(name) })
  config.define_derived_metadata(file_path: %r{/spec/rails/}) { |metadata| metadata[:gem] = "rails" }
  config.example_status_persistence_file_path = ".rspec_status"
  config.expect_with(:rspec) { |expectations| expectations.syntax = :expect }
  config.mock_with(:rspec) { |mocks| mocks.verify_partial_doubles = true }

  # An example that hangs fails under its name, and does not stop the suite.
  config.around do |example|
    Timeout.timeout(example.metadata.fetch(:timeout, 60)) { example.run }
  end

  config.before { RedisServer.shared.flush }

  config.after do
    stop_consumers
    disconnect_streams
    stop_processes
    stop_servers
  end

  config.after(:suite) { RedisServer.stop_shared }
end
