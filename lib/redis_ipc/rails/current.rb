# frozen_string_literal: true

require "active_support/current_attributes"

module RedisIPC
  module OnRails
    # The values that Rails's executor resets between units of work.
    # @api private
    class Current < ActiveSupport::CurrentAttributes
      # @return [String, nil] the id of the HTTP request, here or in the process that sent the request
      attribute :request_id
    end
    private_constant :Current
  end
end
