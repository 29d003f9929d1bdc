# frozen_string_literal: true

module RedisIPC
  class Web
    # One instance: what it runs, what happened to it, its settings and counters.
    # @api private
    class InstancePage < Page
      include Members

      TEMPLATE = :instance
      SECTION = :overview

      # @return [Admin::Instance]
      attr_reader :instance

      alias subject instance

      # @return [String]
      def title
        Strings.text(:instance_title, id: instance.id[0, 8], group: "#{instance.stream}/#{instance.group}")
      end

      # @return [Array<Admin::Instance>]
      def instances
        [instance]
      end

      # @return [Hash]
      def to_h
        { instance: instance.to_h }
      end

      private

      def read
        id = request.fetch(:id)
        @instance = found(admin.instance(request.fetch(:stream), id), id)
      end
    end
  end
end
