# frozen_string_literal: true

module RedisIPC
  module Events
    # A publisher is this process's connection for publishing to one Redis. It belongs to the process that opened it.
    # @api private
    class Publisher
      # One connected period of a publisher. It has no threads in Ruby.
      class Session < EngineSession
        def initialize(core, callables)
          super("publisher", callables, workers: nil, others: []) do |logins|
            Native::EventPublisher.start(core, logins)
          end
        end
      end
      private_constant :Session

      # @param redis_options [Hash]
      # @yield called when the publisher is closed, to forget it
      # @raise [ConfigurationError]
      # @raise [ConnectionError]
      def initialize(redis_options, &forget)
        core, callables = Settings.for_core(redis_options: redis_options)
        @forget = forget
        @session = ThreadLimitError.watch({}) { Session.new(core, callables) }
        ProcessHooks.remember(@session, self)
      end

      # @param partitions [Integer, nil]
      # @return [Array(Array<String>, Hash{String => Array})] the positions, and for each stream what was trimmed
      def publish(stream, partitions, entries, *options)
        return publish_divided(stream, partitions, entries, options) if partitions

        positions, trimmed = @session.engine.publish(stream, entries, *options)
        [positions, { stream => trimmed }]
      end

      # Deletes a group, with all its pending entries.
      # @param partitions [Integer, nil]
      def delete_group(stream, group, partitions)
        @session.engine.delete_group(stream, group, partitions)
      end

      # @return [Boolean] whether it belongs to this process and is not closed
      def open?
        @session.open?
      end

      # Closes it at the end of the process.
      def disconnect(timeout:)
        @forget.call(self)
        @session.close(timeout)
      end

      # Does nothing: a forked child opens a publisher of its own when it publishes.
      def reconnect_after_fork
        @forget.call(self)
        @session.abandon
        ProcessHooks.forget(@session)
      end
      alias leave_to_parent reconnect_after_fork

      private

      def publish_divided(stream, partitions, entries, options)
        positions = Array.new(entries.size)
        trimmed = Partitions.divide(stream, partitions, entries).to_h do |name, indices|
          ids, facts = @session.engine.publish(name, entries.values_at(*indices), *options)
          indices.zip(ids) { |index, id| positions[index] = id }
          [name, facts]
        end
        [positions, trimmed]
      end
    end
    private_constant :Publisher
  end
end
