# frozen_string_literal: true

module Chaos
  module Events
    # What comes to the consumers of a row, and how they handle it.
    # * `name`: the beginning of the row's name.
    # * `order` of the consumers: "none", "key" or "source".
    # * `settings` of the processes by role, beside the usual ones (see Scene#usual).
    # * `pause`: the seconds that a key may stand still beyond those of the fault, because handlers fail.
    # * `held`: the handlers of some events fail until the fault is over, and their dead letters hold their keys.
    # * `database`: handlers write to a database, with exactly_once.
    # * `at_hand`: how many events the handlers of one process have at once.
    Load = Struct.new(:name, :order, :settings, :pause, :held, :database, :at_hand, keyword_init: true)

    # All loads.
    module Loads
      DEFAULTS = { settings: {}, pause: 0, held: false, database: false, at_hand: 3 }.freeze
      # Some events of some keys: one every three seconds.
      FAILING = (5..800).step(60).map { |number| "3/#{number}" }.freeze

      class << self
        # Returns the loads with these names.
        def named(names)
          names.map { |name| ALL.find { |load| load.name == name } || raise(KeyError, "no load #{name}") }
        end

        private

        def load(name, **more)
          Load.new(name: name, order: name[/\Aorder (\w+)/, 1], **DEFAULTS, **more)
        end

        # The same without an order and in order by key.
        def both(name, **more)
          %w[none key].map { |order| load("order #{order}, #{name}", **more) }
        end

        def options(**options)
          { consumer: { options: options } }
        end
      end

      # One event after the other, so there are fewer of them.
      SOURCE = load("order source", settings: { publisher: { pause: 0.05 } }).freeze
      HELD = load("order key, then hold_key", held: true, settings: {
                    consumer: { failing: FAILING, options: { order: [:key, { then: :hold_key }], attempts: 2 } }
                  }).freeze
      # What raises is tried again after a second. It is not named by retry_on, so its batch is split until it is found.
      BATCHES = both("batches", pause: 2, at_hand: 60, settings: {
                       consumer: { failing: FAILING, options: { batch: { size: 20, within: 0.05 } } }
                     }).freeze
      FIBERS = both("fibers", at_hand: 20, settings: options(concurrency: { fibers: 20 })).freeze
      PROCESSES = both("worker processes", at_hand: 4,
                                           settings: options(concurrency: { processes: 2, threads: 2 })).freeze
      # SQLite has one writer at a time.
      DATABASE = both("exactly_once", database: true, settings: { publisher: { pause: 0.05 } }).freeze

      # Over so many streams.
      SPREAD = { partitions: 8 }.freeze
      PARTITIONS = load("order key, partitions", settings: {
                          publisher: SPREAD, **options(order: [:key, SPREAD])
                        }).freeze

      ALL = [load("order none"), load("order key"), SOURCE, PARTITIONS, HELD, *BATCHES, *FIBERS, *PROCESSES,
             *DATABASE].freeze

      # The names of those that a fault has if it says nothing.
      USUAL = ["order none", "order key"].freeze
      UNORDERED = ["order none"].freeze
      ORDERED = ["order key", "order source", "order key, exactly_once"].freeze
      PARTITIONED = [PARTITIONS.name].freeze
      EVERY = ALL.map(&:name).freeze
    end
  end
end
