# frozen_string_literal: true

module RedisIPC
  # Makes consumers and publishing work without Redis.
  module Testing
    # Replaces the methods of a started consumer.
    # @api private
    module InRunner
      # Stands in for a session.
      Session = Struct.new(:engine) do
        def closed?
          false
        end
      end

      def start(paused: false)
        return super unless Testing.enabled?

        Receivers.join(self)
        self
      end

      def stats
        Testing.enabled? ? engine.stats : super
      end

      private

      def session
        return super unless Testing.enabled?

        Receivers.joined?(self) ? Session.new(engine) : super
      end

      def engine
        EventEngine.of(setup)
      end
    end

    # Replaces the publishers of the process.
    # @api private
    module InPublishers
      # Stands in for a publisher.
      class Publisher
        # @return [Array(Array<String>, Hash)] the positions; nothing is trimmed
        def publish(stream, partitions, entries, *)
          entries = entries.map { |entry| EventEngine.entry(Events::InlineConsumers.written(*entry)) }
          Testing.publish(stream, partitions, entries)
          [entries.map(&:id), {}]
        end

        def delete_group(_stream, _group, _partitions); end
      end
      private_constant :Publisher

      def with(redis_options)
        Testing.enabled? ? yield(Publisher.new) : super
      end
    end
  end

  # Publishing and consuming.
  module Events
    Runner.prepend(Testing::InLifecycle, Testing::InRunner)
    Publishers.singleton_class.prepend(Testing::InPublishers)
  end
end
