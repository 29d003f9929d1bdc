# frozen_string_literal: true

module Cellar
  # Answers where the application does.
  class Wine < RedisIPC::Channel
    stream "shop"
    channel "cellar"

    event("label") { Bottle::LABEL }
  end
end
