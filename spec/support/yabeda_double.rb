# frozen_string_literal: true

# The part of Yabeda's API that the gem uses: counters, gauges, and what they were told.
class YabedaDouble
  # Refuses what Yabeda or an adapter would refuse.
  Metric = Struct.new(:type, :tags, :told) do
    def increment(tags, by:)
      raise ArgumentError, "a counter grows" unless type == :counter && by.positive?

      tell(tags) { |before| before + by }
    end

    def set(tags, value)
      raise ArgumentError, "a gauge is set" unless type == :gauge

      tell(tags) { value }
    end

    # Some adapters refuse other labels than those that were declared.
    def tell(given)
      raise ArgumentError, "the tags are #{tags}, not #{given.keys}" unless given.keys == tags

      told[given] = yield(told.fetch(given, 0))
    end
  end

  def initialize
    @metrics = {}
  end

  def configure(&block)
    instance_exec(&block)
  end

  def group(name, &block)
    raise ArgumentError, "the group is #{name}" unless name == :redis_ipc

    instance_exec(&block)
  end

  def collect(&block)
    block ? @collect = block : @collect.call
  end

  %i[counter gauge].each do |type|
    define_method(type) do |name, comment:, tags:|
      raise ArgumentError, "#{name} needs a text" if comment.empty?

      @metrics[name] = Metric.new(type, tags, {})
    end
  end

  def redis_ipc
    Struct.new(*@metrics.keys).new(*@metrics.values)
  end

  def [](name, tags)
    @metrics.fetch(name).told[tags]
  end
end
