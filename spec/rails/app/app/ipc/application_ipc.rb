# frozen_string_literal: true

# The base class of all channels.
class ApplicationIpc < RedisIPC::Channel
  stream "shop"
end
