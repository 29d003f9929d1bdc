# frozen_string_literal: true

require_relative "announcer"
require_relative "class_files"
require_relative "file_watch"

module RedisIPC
  module OnRails
    # Has the classes of one kind run in this process: it starts them, replaces them when code is reloaded, and stops
    # them. While Redis is away it goes on trying.
    #
    # A subclass defines `way`, `start_one(class)`, `stop_one(class, timeout)`, `redis_of(class)`,
    # `replace(name, old, new)` and `successor(name, present)`.
    # @api private
    class Placement
      # @param configuration [Configuration]
      # @param kind [Kind]
      # @param announcer [Announcer]
      def initialize(configuration, kind, announcer)
        @configuration = configuration
        @kind = kind
        @files = ClassFiles.new(kind)
        @announcer = announcer
        @running = {}.freeze
        @serving = false
        @lock = Monitor.new
        @reloads = 0
        @watch = FileWatch.new(@files, kind.plural, self)
        @starting = PatientStart.new(kind.plural, announcer, around: ::Rails.application.executor.method(:wrap)) do
          start_all
        end
        ProcessHooks.on_fork { leave_to_parent if ProcessHooks.worker? }
      end

      # @return [Integer] how often the classes have been reloaded
      attr_reader :reloads

      # @return [Boolean] whether the last reload failed
      def outdated?
        @outdated ? true : false
      end

      # @return [Boolean] whether some that should run here could not be started yet
      def missing?
        @serving && @missing ? true : false
      end

      # Starts all classes here, now or once Redis is there. It may be called again.
      # @raise [ConfigurationError]
      def run_here
        @serving = true
        @starting.now
      end

      # Starts them in each child of this process, but not here.
      def run_in_children
        ProcessHooks.on_fork do
          next if ProcessHooks.worker?

          # Another thread may have held the lock when the process was forked.
          @lock = Monitor.new
          @serving = true
          forked
          @starting.later
        end
      end

      # Stops them here, all at the same time.
      # @param timeout [Numeric] seconds that running handlers are given
      def stop_here(timeout: RedisIPC.configuration.shutdown_timeout)
        quiet
        @starting.join
        running = @lock.synchronize { @running.values.tap { @running = {}.freeze } }
        running.map { |one| Thread.new { stop_one(one, timeout) } }.each(&:join)
      end

      # From now on starts none. Those that run are not touched.
      def quiet
        @serving = false
        @watch.stop
        @starting.stop
      end

      # Lets only these classes run, whatever the configuration names.
      # @param names [Array<String>, nil]
      def only(names)
        @kind.only = names
      end

      # Loads all classes.
      # @return [Array<String>] the names of those that are not only there for others to inherit from
      def runnable_names
        @files.all.map(&:name)
      end

      # Loads the classes that run here.
      # @return [Array<Class>]
      # @raise [ConfigurationError]
      def present
        checked.values
      end

      # Loads all files.
      def load_all
        @files.load_all
      end

      # Notes that the classes are about to be reloaded.
      def outdate
        @outdated = true if active?
      end

      # Lets the new classes replace the old, after Rails has loaded or reloaded the code.
      def reload
        return unless active?

        @outdated = true
        present = @files.load
        @starting.now do
          @lock.synchronize do
            replace_all(present)
            @serving ? start_each(present) : []
          end
        end
        @outdated = false
        @reloads += 1
      end

      # Loads again what failed to load when Rails reloaded the code. The handler that runs this fails with the error,
      # until the code can be loaded.
      def catch_up
        reload if @outdated
      end

      private

      def active?
        @serving || @running.any?
      end

      # Loads the classes that run here.
      # @return [Hash{String => Class}]
      # @raise [ConfigurationError]
      def checked
        @files.check
        @files.load
      end

      def start_all
        present = checked
        @lock.synchronize { start_each(present) }.tap { @watch.start }
      end

      # @return [Array<CallError>] the failures
      def start_each(present)
        failures = PatientStart.each(present.each_value, method(:redis_of)) { |one| start_one(one) }
        @missing = failures.any?
        failures
      end

      def replace_all(present)
        @running.each do |name, old|
          new = successor(name, present)
          replace(name, old, new) unless old.equal?(new)
        end
      end

      # A process that handles events for this one only follows the reloading of code.
      def leave_to_parent
        @lock = Monitor.new
        @serving = false
      end

      # What a child does first.
      def forked; end

      def note(one)
        @running = @running.merge(one.name => one).freeze
      end

      def forget(name)
        @running = @running.except(name).freeze
      end

      # Stops it when its handlers have ended: they may be waiting for the reload that replaces it.
      def stop_beside(one)
        Thread.new { stop_one(one, RedisIPC.configuration.shutdown_timeout) }
      end
    end
  end
end
