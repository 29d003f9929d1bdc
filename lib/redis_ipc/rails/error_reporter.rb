# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Reports errors that `on_error` is told of to Rails's error reporter (Rails 7 and newer).
    # @api private
    module ErrorReporter
      class << self
        def install
          RedisIPC.subscribe(:error) { |event| report(event.payload) } if ::Rails.respond_to?(:error)
        end

        private

        def report(payload)
          place = payload.slice(:stream, :group, :consumer, :queue, :method, :id)
          context = place.merge(request(payload[:entry]), event(payload[:event])).compact
          ::Rails.error.report(payload[:error], handled: false, context: context, **source)
        end

        def request(entry)
          entry ? { from: entry.source_group, correlation_id: entry.correlation_id } : {}
        end

        def event(event)
          event ? { type: event.type, attempt: event.attempt } : {}
        end

        # Rails 7.1 and newer take the name of the reporting library.
        def source
          @source ||= ::Rails.gem_version >= Gem::Version.new("7.1") ? { source: "redis_ipc" } : {}
        end
      end
    end
  end
end
