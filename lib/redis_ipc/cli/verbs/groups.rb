# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists groups.
      # @api private
      class Groups < AdminVerb
        verb "groups"
        summary "list the groups of a stream, and how busy they are"
        about <<~TEXT
          Lists the groups that have instances or had some last week, and those that are asked and that nobody joined: how many instances answer, how many of their
          handlers run, how many requests wait and since when, how many are answered in a second, how long handlers
          run, and how many requests were given up on. A hyphen is what is not known: instances in other languages may
          say less about themselves.
        TEXT
        shares :streams, :redis, :watch, :json
        example "redis_ipc groups --stream house", "lists the groups of a stream"
        example "redis_ipc groups -s house,garden --watch", "lists those of two, every two seconds"

        TITLES = %w[group answer busy waiting oldest answered/s failed/s p50 p95 p99 dead state].freeze
        SPARE = %w[p50 p99 failed/s answered/s].freeze
        private_constant :TITLES, :SPARE

        def run
          groups = admin.streams.flat_map { |stream| groups_of(stream) }
          none = "there are no groups on #{LogText.line(admin.streams.join(", "))}"
          show(groups, TITLES, spare: SPARE, none: none) { |group| cells(group) }
        end

        private

        def groups_of(stream)
          groups = admin.groups(stream)
          asked = admin.instances(stream).flat_map { |one| (one.outcomes || {}).keys }.uniq
          groups + (asked - ["*"] - groups.map(&:name)).map { |name| admin.group(stream, name) }
        end

        def cells(group)
          [group.path, cell("#{group.serving} of #{group.instances}", (:red if unserved?(group))), busy_of(group),
           alarming(group.waiting, :yellow), Units.duration(group.oldest), Units.rate(group.answered),
           alarming_rate(group.failed), *percentiles(group.run), alarming(group.dead), state(group)]
        end

        def unserved?(group)
          group.serving.zero? && group.waiting.to_i.positive?
        end

        def alarming_rate(rate)
          rate.to_f.positive? ? cell(Units.rate(rate), :red) : Units.rate(rate)
        end

        def state(group)
          return cell("paused by #{group.paused_by || "?"}", :yellow) if group.paused?
          return cell("nobody answers", :red) if unserved?(group)
          return cell("never joined", :red) unless group.known?
          return cell("gone", :gray) if group.instances.zero?

          group.outdated ? cell("figures #{Units.duration(group.outdated)} old", :yellow) : "alive"
        end
      end
    end
  end
end
