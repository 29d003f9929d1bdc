# frozen_string_literal: true

require_relative "../../redis_ipc"

module RedisIPC
  module Metrics
    # Gives the numbers of this process to Yabeda, whenever that collects. Load it after the gem yabeda:
    # `require "redis_ipc/metrics/yabeda"`. The metrics have the names that {Metrics} has.
    #
    # @example In a Rails application, in an initializer
    #   require "redis_ipc/metrics/yabeda"
    module Yabeda
      GROUP = :redis_ipc
      PREFIX = "#{GROUP}_".freeze
      LABELS = %i[kind source stream group consumer].freeze
      MORE = { "redis_ipc_calls" => :outcome, "redis_ipc_events" => :outcome, "redis_ipc_event_losses" => :cause,
               "redis_ipc_call_outcomes" => %i[to outcome] }.freeze
      private_constant :GROUP, :PREFIX, :LABELS, :MORE

      # A counter of Yabeda takes what was added since it was last told, and a gauge keeps its value until it is told
      # another one.
      @told = {}
      @lock = Mutex.new

      class << self
        # Declares the metrics, and has Yabeda collect them from now on. Loading this file does it.
        # @return [nil]
        # @api private
        def install
          declare = method(:declare)
          collect = method(:collect)
          ::Yabeda.configure do
            group(GROUP) { declare.call(self) }
            collect(&collect)
          end
          nil
        end

        private

        def declare(yabeda)
          Catalog::METRICS.each do |name, (type, help)|
            tags = [*LABELS, *MORE[name]]
            yabeda.public_send(type, short(name, type), comment: help, tags: tags)
          end
        end

        def collect
          @lock.synchronize do
            values = current
            values.each { |(name, type, tags), value| tell(name, type, tags, value) }
            # What is not connected any more.
            (@told.keys - values.keys).each { |name, type, tags| tell(name, type, tags, 0) if type == :gauge }
          end
        end

        # @return [Hash{Array => Numeric}] by the name, the type and the tags
        def current
          families = Metrics.families.select { |family| Catalog::METRICS.key?(family.name) }
          families.flat_map { |family| family.samples.map { |sample| [key(family, sample), sample.value] } }.to_h
        end

        def key(family, sample)
          tags = [*LABELS, *MORE[family.name]].to_h { |label| [label, sample.labels[label].to_s] }
          [short(family.name, family.type), family.type, tags]
        end

        def tell(name, type, tags, value)
          metric = ::Yabeda.public_send(GROUP).public_send(name)
          before = @told[[name, type, tags]] || 0
          @told[[name, type, tags]] = value
          return metric.set(tags, value) if type == :gauge

          metric.increment(tags, by: value - before) if value > before
        end

        def short(name, type)
          :"#{name.delete_prefix(PREFIX)}#{"_total" if type == :counter}"
        end
      end

      ProcessHooks.on_fork do
        @told = {}
        @lock = Mutex.new
      end
    end
  end
end

RedisIPC::Metrics::Yabeda.install
