# frozen_string_literal: true

require "minitest"
require_relative "testing"
require_relative "testing/assertions"

# Every test begins in fake mode, and leaves nothing to the next.
Minitest::Test.include(RedisIPC::Testing::Assertions)
RedisIPC::Testing.fake!
