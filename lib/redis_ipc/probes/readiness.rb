# frozen_string_literal: true

module RedisIPC
  class Probes
    # Looks whether this process takes work now: everything is connected, and nothing was told to take no more.
    # @api private
    class Readiness
      # @param lazy [Boolean] whether nothing need be connected
      def initialize(lazy)
        @lazy = lazy
      end

      # @return [Array<String>] a line for each thing that keeps it from taking work
      def problems
        open, others = ProcessHooks.look(&:to_a).select { |session, _| ours?(session) }.partition { |one, _| one.open? }
        found = open.filter_map { |session, owner| problem(session, owner) } + closing(others) + missing
        found << "nothing is connected" if open.empty? && found.empty? && !@lazy
        found
      end

      private

      def ours?(session)
        session.pid == Process.pid && !session.labels.empty?
      end

      def problem(session, owner)
        name = Sessions.title(session)
        return "#{name}: told to take no more" if session.quiet?
        return "#{name}: not connected to Redis" unless session.connected?

        "#{name}: paused" if session.stats[:paused] == 1 || (owner.respond_to?(:paused?) && owner.paused?)
      end

      def closing(sessions)
        sessions.map { |session, _| "#{Sessions.title(session)}: is being disconnected" }
      end

      # @return [Array<String>] what a Rails application should run here and could not start yet
      def missing
        { "channels" => RedisIPC.channels, "consumers" => RedisIPC.consumers }.filter_map do |what, placement|
          "#{what}: not all have started" if placement&.missing?
        end
      end
    end
  end
end
