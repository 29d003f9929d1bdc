# frozen_string_literal: true

module RedisIPC
  module Events
    # Converts events to those of the gem cdc-core, for handlers that are written for it. docs/events.md has the table.
    # @api private
    module Cdc
      # The schema of events whose source has none.
      SCHEMA = "redis"
      # What is known of where an event comes from.
      PLACES = %i[pattern node event value_state lsn unchanged].freeze
      private_constant :SCHEMA, :PLACES

      class << self
        # @return [Boolean] whether the gem is loaded
        def loaded?
          defined?(::CDC::Core::ChangeEvent) ? true : false
        end

        # @param object [Object]
        # @return [Boolean] whether it is a handler of that gem
        def processor?(object)
          return false unless defined?(::CDC::Core::Processor)

          object.is_a?(::CDC::Core::Processor) || (object.is_a?(Class) && object <= ::CDC::Core::Processor)
        end

        # @param event [ChangeEvent]
        # @return [CDC::Core::ChangeEvent]
        # @raise [ConfigurationError] if the gem is not loaded
        # @raise [MalformedEntryError] as {ChangeEvent#data}
        def event(event)
          raise ConfigurationError, "to_cdc needs the gem cdc-core: require \"cdc/core\" first" unless loaded?

          ::CDC::Core::ChangeEvent.new(
            operation: event.operation, schema: event.metadata.fetch(:schema, SCHEMA),
            table: event.metadata.fetch(:table) { event.place.fetch(:stream, event.source) }, old_values: event.old,
            new_values: values(event.data), primary_key: primary_key(event), occurred_at: event.occurred_at,
            metadata: metadata(event), **transaction(event)
          )
        end

        private

        # cdc-core requires a Hash.
        def values(data)
          data.nil? || data.is_a?(Hash) ? data : { "data" => data }
        end

        def transaction(event)
          part = event.transaction or return {}
          { transaction_id: part.id, commit_lsn: part.commit_lsn, sequence_number: part.index }
        end

        def primary_key(event)
          identity = event.metadata[:identity]
          return identity if identity || event.kind == :wal
          return { "key" => event.key } if event.key

          { "id" => event.position } if event.position
        end

        def places(event)
          # Those of a stream's entry are its values.
          fields = :fields if event.kind == :keyspace
          event.metadata.slice(*PLACES, *fields).to_h do |name, one|
            [name.name, one.is_a?(Array) ? one : one.to_s]
          end
        end

        def metadata(event)
          { "source" => event.source, "kind" => event.kind.name, "type" => event.type, "position" => event.position,
            "attempt" => event.attempt, "redelivered" => event.redelivered?, "delivery" => event.guarantee.name,
            "traceparent" => event.traceparent, **places(event) }.compact
        end
      end
    end
  end
end
