# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists instances.
      # @api private
      class Instances < AdminVerb
        verb "instances"
        summary "list the processes of groups, and what runs in them"
        about <<~TEXT
          Lists the instances that are alive or have died in the last ten minutes. With --long, what runs in each and
          its last incidents follow below it: a handler that runs longer than a lease has the line of the application
          where it stands. An instance that is silent has missed three signs of life, and may be dead.
        TEXT
        argument :group, "only those of this group", optional: true
        option :long, "-l", "--long", "print what runs, and the last incidents"
        shares :streams, :others, :redis, :watch, :json
        example "redis_ipc instances kitchen -s house --long", "shows what the handlers of a group are doing"

        TITLES = %w[group process instance state busy longest lease gem up].freeze
        SPARE = %w[gem up lease instance].freeze
        # Letters of an id that people need to tell instances apart.
        SHORT = 12
        private_constant :TITLES, :SPARE, :SHORT

        def run
          found = all_instances
          return long(found) if given[:long] && !terminal.json?

          show(found, TITLES, spare: SPARE, none: "there are no instances") { |instance| cells(instance) }
        end

        private

        # Servers of a queue have no group.
        def all_instances
          requests = admin.streams.flat_map { |stream| admin.instances(stream, group: given[:group]) }
          @others = [*admin.queues.flat_map(&:servers), *admin.event_groups.flat_map(&:instances)]
          @others.select! { |instance| instance.group == given[:group] } if given[:group]
          requests + @others
        end

        def cells(instance)
          place = [instance.stream, *instance.group].reject(&:empty?).join("/")
          [place, instance.host && instance.name, instance.id[0, SHORT], state(instance), busy_of(instance),
           Units.duration(instance.oldest&.age), Units.duration(instance.lease), instance.gem, up(instance)]
        end

        def up(instance)
          Units.duration(Time.now - instance.started) if instance.started
        end

        def state(instance)
          return cell("dead", :red) unless instance.alive?
          return cell("silent for #{Units.duration(instance.silent)}", :yellow) if instance.silent
          return cell("paused", :yellow) if instance.paused?

          instance.serves? || @others.include?(instance) ? cell("answers", :green) : "asks"
        end

        # Prints each line of the table, and below it what is known of the instance.
        def long(found)
          return terminal.say("there are no instances") if found.empty?

          head, *lines = terminal.table(TITLES, found.map { |instance| cells(instance) }, spare: SPARE)
          details = found.zip(lines).flat_map { |instance, line| [line, *running(instance), *incidents(instance)] }
          terminal.say(head, details)
        end

        def running(instance)
          Array(instance.running).map do |one|
            # An event comes from no group.
            from = one.from.to_s.empty? ? nil : "from #{one.from}"
            what = [one.event, from, one.id].compact.join(" ")
            delivery = ", delivery #{one.delivery}" if one.delivery.to_i > 1
            frame = " at #{one.frame}" if one.frame
            LogText.line("    runs #{what} for #{Units.duration(one.age) || "?"}#{delivery}#{frame}")
          end
        end

        def incidents(instance)
          Array(instance.incidents).map do |one|
            LogText.line("    #{clock(one.at)} #{one.kind}: #{one.text}")
          end
        end
      end
    end
  end
end
