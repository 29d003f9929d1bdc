# frozen_string_literal: true

module RedisIPC
  class Admin
    # What several instances say together.
    # @api private
    class Members
      # @param instances [Array<Instance>] those that count
      def initialize(instances)
        @instances = instances
      end

      # @param fields [Array<Symbol>] the fields of a {Group}, a {Queue} or an {EventGroup} that are wanted
      # @return [Hash{Symbol => Object}]
      def fields(*fields)
        series = Series.merge(@instances.map(&:series))
        all = { handlers: sum(&:handlers), busy: sum(&:busy), series: series, call: merged(:call), wait: merged(:wait),
                run: merged(:run), asked: series&.rate(:asked), answered: series&.rate(:answered),
                failed: series&.rate(:failed) }
        all.slice(*fields)
      end

      private

      # What a silent instance does is not known.
      def sum(&)
        known = @instances.reject(&:silent).filter_map(&)
        known.sum unless known.empty?
      end

      def merged(name)
        Histogram.merge(@instances.map(&name))
      end
    end
    private_constant :Members
  end
end
