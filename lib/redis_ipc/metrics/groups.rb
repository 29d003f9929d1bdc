# frozen_string_literal: true

module RedisIPC
  module Metrics
    # What Redis knows of groups, queues and groups of events, whichever processes serve them.
    # @api private
    module Groups
      METRICS = {
        "redis_ipc_redis_up" => "1 if the figures of groups could be read",
        "redis_ipc_group_instances" => "Instances that are alive",
        "redis_ipc_group_serving" => "Of these, instances that answer requests or handle events",
        "redis_ipc_group_waiting" => "Requests that nobody has taken",
        "redis_ipc_group_oldest_seconds" => "For how long the oldest of them has waited",
        "redis_ipc_group_dead" => "Dead letters",
        "redis_ipc_group_paused" => "1 if the group is told to take nothing new",
        "redis_ipc_event_lag" => "Events that are still to be delivered",
        "redis_ipc_event_oldest_seconds" => "Age of the oldest of them",
        "redis_ipc_event_pending" => "Events that were delivered and are not done",
        "redis_ipc_event_lanes_known" => "Lanes or partitions that there are",
        "redis_ipc_event_lanes_owned" => "Lanes or partitions that have an owner"
      }.freeze

      class << self
        # @param admin [Admin]
        # @return [Array<Family>] if Redis cannot be read, only the one that says so
        def families(admin)
          values = METRICS.transform_values { {} }
          read(values, admin.overview)
          values["redis_ipc_redis_up"] = { {} => 1 }
          build(values)
        rescue CallError
          build({ "redis_ipc_redis_up" => { {} => 0 } })
        end

        private

        def build(values)
          values.reject { |_, samples| samples.empty? }.map do |name, samples|
            samples = samples.map { |labels, value| Family::Sample.new(labels, value) }
            Family.new(name, :gauge, METRICS.fetch(name), samples)
          end
        end

        def read(values, overview)
          overview.groups.each { |group| put(values, of_group(group), "request_reply", group.stream, group.name) }
          overview.queues.each { |queue| put(values, of_queue(queue), "json_rpc", queue.name, "") }
          overview.event_groups.each { |group| put(values, of_events(group), "events", group.stream, group.name) }
        end

        # Leaves out what is not known.
        def put(values, figures, kind, stream, group)
          labels = { kind: kind, stream: stream, group: group }.freeze
          figures.compact.each { |name, value| values.fetch("redis_ipc_#{name}")[labels] = value }
        end

        def of_group(group)
          { "group_instances" => group.instances, "group_serving" => group.serving,
            "group_waiting" => group.waiting, "group_oldest_seconds" => oldest(group, group.waiting),
            "group_dead" => group.dead, "group_paused" => group.paused? ? 1 : 0 }
        end

        def of_queue(queue)
          alive = queue.servers.count(&:alive?)
          { "group_instances" => alive, "group_serving" => alive, "group_waiting" => queue.waiting,
            "group_dead" => queue.dead, "group_oldest_seconds" => oldest(queue, queue.waiting),
            "group_paused" => queue.paused? ? 1 : 0 }
        end

        def of_events(group)
          alive = group.instances.count(&:alive?)
          { "group_instances" => alive, "group_serving" => alive, "group_dead" => group.dead,
            "group_paused" => group.paused? ? 1 : 0, "event_lag" => group.lag, "event_pending" => group.pending,
            "event_oldest_seconds" => oldest(group, group.lag), "event_lanes_known" => group.lanes,
            "event_lanes_owned" => group.lanes_owned }
        end

        # If nothing waits, nothing is old: an alert must be able to end.
        def oldest(group, count)
          group.oldest || (0.0 if count&.zero?)
        end
      end
    end
  end
end
