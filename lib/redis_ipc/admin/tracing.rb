# frozen_string_literal: true

module RedisIPC
  class Admin
    # Looks for a request.
    # @api private
    class Tracing
      # The most requests of an inbox, and the most dead letters, that are looked at.
      MOST = 1_000
      private_constant :MOST

      # @param admin [Admin]
      # @param stream [String]
      # @param id [String] the request's id, or Redis's id of it
      def initialize(admin, stream, id)
        @admin = admin
        @stream = stream
        @id = id
      end

      # @return [Trace]
      # @raise [CallError] if Redis cannot be reached or refuses
      def call
        instances = @admin.instances(@stream)
        groups = @admin.groups(@stream)
        requests = names(groups, instances).flat_map { |name| requests_of(name) }
        holder, running = holder(instances, requests)
        Trace.new(id: @id, requests: requests.freeze, holder: holder, running: running,
                  dead_letters: groups.flat_map { |group| letters_of(group) }.freeze,
                  incidents: incidents(instances, requests).freeze)
      end

      private

      # Requests may wait for a group that no process has joined.
      def names(groups, instances)
        groups.map(&:name) | (instances.flat_map { |one| (one.outcomes || {}).keys } - ["*"])
      end

      def requests_of(group)
        @admin.requests(@stream, group, limit: MOST).select { |one| [one.id, one.redis_id].include?(@id) }
      end

      def letters_of(group)
        return [] unless group.dead.to_i.positive?

        @admin.dead_letters(@stream, group.name, limit: MOST, match: @id)
              .select { |one| [one.request_id, one.redis_id, one.id].include?(@id) }
      end

      def ids(requests)
        [@id, *requests.flat_map { |one| [one.id, one.redis_id] }].compact.uniq
      end

      def holder(instances, requests)
        ids = ids(requests)
        instances.each do |instance|
          running = (instance.running || []).find { |one| ids.include?(one.id) }
          return [instance, running] if running
        end
        held = requests.filter_map(&:holder).first
        [held && instances.find { |instance| instance.id == held }, nil]
      end

      def incidents(instances, requests)
        ids = ids(requests)
        instances.flat_map { |one| one.incidents || [] }
                 .select { |incident| ids.any? { |id| incident.text.include?(id) } }
                 .sort_by { |incident| incident.at.to_f }
      end
    end
    private_constant :Tracing
  end
end
