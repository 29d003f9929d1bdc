# frozen_string_literal: true

require_relative "../event_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists the groups that handle events.
      # @api private
      class EventsStatus < EventVerb
        verb "events status"
        summary "list the consumers of events, and how they get on"
        about <<~TEXT
          Lists the groups that handle the events of the streams, and the consumers of channels, keys and PostgreSQL's
          log: how many processes, how many events are still to come and how old the first of them is, what runs, how
          many lanes of an order have an owner, and what failed or was lost.
        TEXT
        option :long, "-l", "--long", "print the owners of lanes too"
        shares_all
        example "redis_ipc events status orders", "lists the groups of a stream"

        TITLES = %w[group source processes lag oldest pending lanes handled/s p95 failed dead losses state].freeze
        SPARE = %w[source p95 failed handled/s lanes pending].freeze
        private_constant :TITLES, :SPARE

        def run
          groups = event_groups
          return owners(groups) if given[:long] && !terminal.json?

          show(groups, TITLES, spare: SPARE, none: none) { |group| cells(group) }
        end

        private

        def cells(group)
          [group.path, group.source, group.instances.count(&:alive?), group.lag, Units.duration(group.oldest),
           group.pending, lanes(group), Units.rate(group.answered), Units.duration(group.run&.p(0.95)),
           alarming(group.failures, :yellow), alarming(group.dead), alarming(group.losses.size), state(group)]
        end

        def lanes(group)
          return unless group.lanes

          text = "#{group.lanes_owned || "?"} of #{group.lanes}"
          group.lanes_owned && group.lanes_owned < group.lanes ? cell(text, :red) : text
        end

        def state(group)
          return cell("paused by #{group.paused_by || "?"}", :yellow) if group.paused?

          group.instances.any?(&:alive?) ? "runs" : cell("nobody consumes", :red)
        end

        def owners(groups)
          show(groups, TITLES, spare: SPARE, none: none) { |group| cells(group) }
          groups.select(&:owners).each { |group| terminal.say("", owners_of(group)) }
        end

        def owners_of(group)
          names = group.instances.to_h { |instance| [instance.id, instance.name] }
          lines = group.owners.group_by(&:last).map do |id, lanes|
            "  #{names.fetch(id, id)} owns #{lanes.size}: #{lanes.map(&:first).sort.join(", ")}"
          end
          ["#{group.path}:", *lines].map { |line| LogText.line(line) }
        end
      end
    end
  end
end
