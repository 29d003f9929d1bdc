# frozen_string_literal: true

module RedisIPC
  class Web
    # One group of a stream, and its instances.
    # @api private
    class GroupPage < Page
      include Members

      TEMPLATE = :group
      SECTION = :overview

      # @return [Admin::Group]
      attr_reader :group
      # @return [Array<Admin::Instance>]
      attr_reader :instances

      alias subject group

      # @return [String]
      def title
        group.path
      end

      # @return [Hash]
      def to_h
        { group: group.to_h, instances: hashes(instances) }
      end

      private

      def read
        stream = request.fetch(:stream)
        name = request.fetch(:group)
        group = admin.group(stream, name)
        @group = found((group if group.known?), group.path)
        @instances = admin.instances(stream, group: name)
      end
    end
  end
end
