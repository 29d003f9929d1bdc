# frozen_string_literal: true

module RedisIPC
  class Web
    # What a page says of several instances together. The page has `instances`, and a `subject` with histograms.
    # @api private
    module Members
      # So many incidents are shown.
      INCIDENTS = 20
      private_constant :INCIDENTS

      # @return [Array<Array(Admin::Instance, Admin::Running)>] what runs now, the oldest first
      def running
        each_of(:running).sort_by { |_, running| -running.age.to_f }
      end

      # @return [Array<Array(Admin::Instance, Admin::Incident)>] the newest first
      def incidents
        each_of(:incidents).sort_by { |_, incident| incident.at.to_f }.reverse.first(INCIDENTS)
      end

      # @return [Boolean] whether what only records say is known: there is nobody, or somebody has written one
      def recorded?
        instances.empty? || instances.any? { |instance| !instance.running.nil? }
      end

      # @return [Hash{Symbol => Admin::Histogram}] those that have something in them
      def histograms
        found = %i[wait run call].to_h { |name| [name, (subject.public_send(name) if subject.respond_to?(name))] }
        found.reject { |_, histogram| histogram.nil? || histogram.count.zero? }
      end

      # @return [Boolean] whether the instance was told to take nothing new
      def quiet?(instance)
        subject.respond_to?(:quiet) && subject.quiet.to_a.include?(instance.id)
      end

      private

      def each_of(name)
        instances.flat_map { |instance| instance.public_send(name).to_a.map { |one| [instance, one] } }
      end
    end
  end
end
