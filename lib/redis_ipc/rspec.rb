# frozen_string_literal: true

require "rspec/core"
require "rspec/expectations"
require_relative "testing"
require_relative "testing/matchers"

# Every example begins in fake mode (or in the mode of its metadata: `redis_ipc: :inline`, `:disable`), and leaves
# nothing to the next.
RSpec.configure do |config|
  config.include(RedisIPC::Testing::Matchers)
  config.prepend_before do |example|
    mode = example.metadata.fetch(:redis_ipc, :fake)
    unless %i[fake inline disable].include?(mode)
      raise ArgumentError, "redis_ipc: must be :fake, :inline or :disable, got #{mode.inspect}"
    end

    RedisIPC::Testing.begin!
    RedisIPC::Testing.public_send(:"#{mode}!")
  end
  config.append_after do
    RedisIPC::Testing.end!
    RedisIPC::Testing.fake!
  end
end
