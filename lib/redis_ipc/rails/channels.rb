# frozen_string_literal: true

require_relative "announcer"
require_relative "channel_files"
require_relative "channel_watch"
require_relative "operations"
require_relative "../runtime/patience"

module RedisIPC
  module OnRails
    # Connects the channels of a Rails application: those in app/ipc where they should answer, and any other when it
    # first asks. It keeps the connections when the classes are reloaded.
    class Channels
      # @api private
      def initialize(configuration)
        @configuration = configuration
        @files = ChannelFiles.new(configuration)
        @announcer = Announcer.new
        @connected = {}.freeze
        @serving = false
        @lock = Monitor.new
        @reloads = 0
        @watch = ChannelWatch.new(@files) { @reloads }
      end

      # @return [Symbol, Boolean] which processes connect by themselves
      # @api private
      def way
        @configuration.connect
      end

      # Connects all channels in app/ipc, so that this process answers. Call it in workers that the gem does not know;
      # it may be called again. While Redis is away, a thread goes on trying. The log shows which channels answer, and
      # that Redis is away.
      # @return [self]
      # @raise [ConfigurationError] if an option is unknown or of the wrong type
      def connect
        @serving = true
        trying { connect_all }
        self
      end

      # Disconnects every channel that was connected here or by itself, and waits for running handlers.
      # @param timeout [Numeric] seconds
      # @return [self]
      def disconnect(timeout: RedisIPC.configuration.shutdown_timeout)
        quiet
        @connecting&.join
        channels = @lock.synchronize { @connected.values.tap { @connected = {}.freeze } }
        channels.map { |channel| Thread.new { channel.disconnect(timeout: timeout) } }.each(&:join)
        self
      end

      # From now on connects no channel to answer. Connected channels are not touched.
      # @api private
      def quiet
        @serving = false
        @watch.stop
        @connecting&.kill
      end

      # Connects, answers until the process is told to end (TERM or INT), and disconnects. What it logs it also writes
      # to standard output.
      # @return [self]
      # @raise [ConfigurationError] if there is no channel to answer
      def serve
        @files.check
        raise ConfigurationError, "no channel in app/ipc answers here" if @files.load.empty?

        told = Queue.new
        handlers = %w[TERM INT].to_h { |signal| [signal, trap(signal) { told << "SIG#{signal}" }] }
        @announcer.speak_up
        connect
        reason = told.pop
        @announcer.info("redis_ipc ends on #{reason}: running events get #{RedisIPC.configuration.shutdown_timeout} s")
        disconnect
      ensure
        handlers&.each { |signal, handler| trap(signal, handler) }
      end

      # @return [Boolean] whether there are channels that answer here, and all of them are connected
      def connected?
        @serving && !@missing && @connected.any? && @connected.each_value.all?(&:connected?)
      end

      # Connects in each child of this process, but not here.
      # @api private
      def connect_in_children
        ProcessHooks.on_fork do
          # Another thread may have held the lock when the process was forked.
          @lock = Monitor.new
          @serving = true
          # A channel that asked in the parent must not connect again by itself, because it is connected here to answer.
          # A thread that asks meanwhile waits for that.
          @connected.each_value { |channel| channel.disconnect(timeout: 0) }
          connect_later
        end
      end

      # Returns what the rake tasks run.
      # @api private
      def operations
        Operations.new(@configuration, @files)
      end

      # @api private
      def load_all
        @files.load_all
      end

      # Connects a channel that is used before it is connected.
      # @api private
      def connect_to_ask(channel)
        @lock.synchronize { join(channel, serve: @serving && @files.include?(channel)) unless state_of(channel).open? }
      end

      # Lets the new classes take over the connections of the old, after Rails has loaded or reloaded the code.
      # @api private
      def reload
        return unless @serving || @connected.any?

        @outdated = true
        present = @files.load
        trying do
          @lock.synchronize do
            @connected.each { |name, old| replace(name, old, present[name] || name.safe_constantize) }
            @serving ? join_all(present) : []
          end
        end
        @outdated = false
        @reloads += 1
      end

      # Loads again what failed to load when Rails reloaded the code. The request that runs this is rejected with the
      # error, until the code can be loaded.
      # @api private
      def catch_up
        reload if @outdated
      end

      private

      def connect_all
        @files.check
        present = @files.load
        @lock.synchronize { join_all(present) }.tap { @watch.start }
      end

      # Connects the channels. If the Redis of one is away, the others are connected all the same.
      # @return [Array<CallError>] the failures: one for each Redis that is away
      def join_all(present)
        away = {}
        failures = present.each_value.filter_map do |channel|
          redis = @configuration.connect_options(channel)[:redis_options]
          join(channel, serve: true) unless away[redis]
          nil
        rescue ConnectionError, CommandError => e
          away[redis] = e.is_a?(ConnectionError)
          e
        end
        @missing = failures.any?
        failures
      end

      # Connects one channel. A channel that connects by itself only asks, until it is connected here to answer.
      def join(channel, serve:)
        state = state_of(channel)
        return if state.open? && (state.serves? || !serve)

        channel.disconnect(timeout: 0) if state.open?
        channel.connect(serve: serve, **@configuration.connect_options(channel))
        @connected = @connected.merge(channel.name => channel).freeze if channel.name
        @announcer.info("redis_ipc answers #{state.connection.description}") if serve
      end

      def state_of(channel)
        ChannelState.of(channel)
      end

      def replace(name, old, new)
        return if old.equal?(new)

        @connected = @connected.except(name).freeze
        if new.is_a?(Class) && new < Channel && state_of(new).place == state_of(old).place
          state_of(new).take_over(state_of(old))
          @connected = @connected.merge(name => new).freeze
        else
          # Its handlers may be waiting for this reload to end.
          Thread.new { old.disconnect(timeout: RedisIPC.configuration.shutdown_timeout) }
        end
      end

      # @yieldreturn [Array<CallError>] the failures because Redis is away or refuses
      def trying
        failures = yield
        connect_later(failures) if failures.any?
      end

      # @param failures [Array<CallError>] the failures of the attempt before
      def connect_later(failures = [])
        return if @connecting&.alive?

        @connecting = Thread.new { keep_trying(failures) }
        @connecting.name = "redis_ipc connect channels"
        @connecting.report_on_exception = false
      end

      def keep_trying(failures)
        patience = Patience.new
        loop do
          if failures.any?
            patience.failed(failures.map(&:message)) { |text| @announcer.error("redis_ipc: #{text}; trying again") }
          end
          failures = ::Rails.application.executor.wrap { connect_all }
          break if failures.empty?
        end
      rescue StandardError, ScriptError => e
        @announcer.error("redis_ipc: the channels cannot be connected: #{e.class}: #{e.message}")
      end
    end
  end
end
