# frozen_string_literal: true

module RedisIPC
  module Metrics
    # Makes families of the figures of sources.
    # @api private
    module Collector
      # Where several sources have the same labels, their figures are added, but for these.
      COMBINED = { "redis_ipc_connected" => :min, "redis_ipc_paused" => :max,
                   "redis_ipc_handler_running_seconds_max" => :max }.freeze
      private_constant :COMBINED

      class << self
        # @param sources [Array<Source>]
        # @return [Array<Family>] by name
        def families(sources)
          values = Hash.new { |all, name| all[name] = Hash.new { |family, labels| family[labels] = [] } }
          sources.each { |source| each_value(source) { |name, labels, value| values[name][labels] << value } }
          [*values.map { |name, family| family_of(name, family) }, *durations(sources), build_info].sort_by(&:name)
        end

        private

        def each_value(source)
          metrics = Catalog::BY_KIND.fetch(source.kind)
          source.figures.each do |figure, value|
            name, more = metrics[figure]
            yield name, more ? source.labels.merge(more) : source.labels, value if name
          end
          source.outcomes.each do |(to, outcome), count|
            yield "redis_ipc_call_outcomes", source.labels.merge(to: to, outcome: outcome), count
          end
          losses_of(source).each do |cause, count|
            yield "redis_ipc_event_losses", source.labels.merge(cause: cause.name), count
          end
        end

        def losses_of(source)
          return source.losses unless source.kind == "events"

          Catalog::CAUSES[source.labels[:source]].to_h { |cause| [cause, 0] }.merge(source.losses)
        end

        def family_of(name, values)
          combine = COMBINED.fetch(name, :sum)
          samples = values.map { |labels, all| Family::Sample.new(labels, all.public_send(combine)) }
          Family.new(name, *Catalog::METRICS.fetch(name), samples)
        end

        def durations(sources)
          Catalog::DURATIONS.filter_map do |key, (name, help)|
            shown = sources.select { |source| shown?(source, key) }.group_by(&:labels)
            samples = shown.map { |labels, all| Family::Sample.new(labels, together(all, key)) }
            Family.new(name, :histogram, help, samples) unless samples.empty?
          end
        end

        def together(sources, key)
          sources.map { |source| source.distributions.fetch(key) }.reduce(:+)
        end

        # Who has no handler has no durations of handlers.
        def shown?(source, key)
          found = source.distributions[key]
          found && (found.count.positive? || (key != "call" && source.figures[:handlers].to_i.positive?))
        end

        def build_info
          sample = Family::Sample.new({ version: VERSION }, 1)
          Family.new("redis_ipc_build_info", :gauge, "1; the version of the gem is a label", [sample])
        end
      end
    end
  end
end
