# frozen_string_literal: true

# What all channels have in common.
class ApplicationIpc < RedisIPC::Channel
  stream "shop"
end
