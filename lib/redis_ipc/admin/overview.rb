# frozen_string_literal: true

module RedisIPC
  class Admin
    # Everything at a glance.
    class Overview < Value
      # @return [Time] when it was read, on Redis's clock
      attr_reader :at
      # @return [Array<Finding>] the worst first
      attr_reader :findings
      # @return [Array<Group>]
      attr_reader :groups
      # @return [Array<Instance>] those of the groups
      attr_reader :instances
      # @return [Array<Queue>]
      attr_reader :queues
      # @return [Array<EventGroup>]
      attr_reader :event_groups
      # @return [Array<Node>]
      attr_reader :nodes
    end
  end
end
