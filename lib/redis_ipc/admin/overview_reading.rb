# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads everything in few round trips.
    # @api private
    class OverviewReading
      # @param link [Link]
      # @param streams [Array<String>]
      # @param queues [Array<String>]
      # @param events [Array<String>]
      def initialize(link, streams:, queues:, events:)
        @link = link
        @streams = streams.map { |stream| StreamReading.new(stream) }
        @queues = queues.map { |queue| QueueReading.new(queue) }
        @events = events.map { |stream| EventReading.new(stream) }
      end

      # @return [Overview]
      # @raise [CallError] if Redis cannot be reached or refuses
      def call
        nodes, *found = Rounds.run(@link, [NodeReading.new(@link), *@streams, *@queues, *@events])
        streams = found.shift(@streams.size)
        queues = found.shift(@queues.size)
        parts = { at: Time.at(@link.now), nodes: nodes, queues: queues, event_groups: found.flatten(1),
                  groups: streams.flat_map(&:groups), instances: streams.flat_map(&:instances) }
        Overview.new(**parts, findings: Findings.of(Overview.new(**parts)))
      end
    end
    private_constant :OverviewReading
  end
end
