# frozen_string_literal: true

module Cellar
  # This channel is answered where those of the application are.
  class Wine < RedisIPC::Channel
    stream "shop"
    channel "cellar"

    event("label") { Bottle::LABEL }
  end
end
