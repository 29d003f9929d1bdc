# frozen_string_literal: true

require "active_support/current_attributes"

module RedisIPC
  module OnRails
    # The values that Rails's executor resets between units of work.
    # @api private
    class Current < ActiveSupport::CurrentAttributes
      # @return [String, nil] the id of the HTTP request, here or where the request that is being handled comes from
      attribute :request_id
    end
    private_constant :Current
  end
end
