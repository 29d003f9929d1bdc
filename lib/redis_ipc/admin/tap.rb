# frozen_string_literal: true

module RedisIPC
  class Admin
    # Requests that were just added to an inbox.
    class Tap < Value
      # @return [Array<Request>] the oldest first; their content is at hand
      attr_reader :requests
      # @return [String] the Redis id to go on from
      attr_reader :after
    end
  end
end
