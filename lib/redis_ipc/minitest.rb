# frozen_string_literal: true

require "minitest"
require_relative "testing"
require_relative "testing/assertions"

# Every test begins in fake mode, and leaves nothing to the next. `Minitest::Test.include` is not used, because YARD
# does not know that class and fails on it.
[Minitest::Test].each { |test| test.include(RedisIPC::Testing::Assertions) }
RedisIPC::Testing.fake!
