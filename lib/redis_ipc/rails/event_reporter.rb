# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Reports what an operator wants to know as structured events to Rails's event reporter (Rails 8.1 and newer).
    # Errors go to the error reporter ({ErrorReporter}).
    # @api private
    module EventReporter
      NAMES = %i[timeout retry overrun dead_letter reconnect loss trim].freeze
      # What of a payload is reported: no content.
      KEYS = %i[stream group queue consumer method to from id redis_id deliveries attempt outcome frame correlation_id
                removed lost duration].freeze
      private_constant :NAMES, :KEYS

      class << self
        def install
          RedisIPC.subscribe(*NAMES) { |told| report(told) } if ::Rails.respond_to?(:event)
        end

        private

        def report(told)
          payload = told.payload
          ::Rails.event.notify("redis_ipc.#{told.name}", payload.slice(*KEYS).merge(failure(payload), loss(payload)))
        end

        # The message of a dead letter's error may be the application's own.
        def failure(payload)
          payload[:error] ? { error: ErrorText.class_name(payload[:error]) } : {}
        end

        def loss(payload)
          payload[:loss] ? payload[:loss].to_h.transform_keys(&:to_sym) : {}
        end
      end
    end
  end
end
