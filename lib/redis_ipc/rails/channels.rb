# frozen_string_literal: true

require_relative "announcer"
require_relative "channel_files"
require_relative "channel_watch"
require_relative "operations"
require_relative "../runtime/patience"

module RedisIPC
  module OnRails
    # The channels of a Rails application: connects those in app/ipc where they should answer, and any other when it
    # first asks. Keeps the connections when the classes are reloaded.
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

      # Connects all channels in app/ipc, so that this process answers. For workers the gem does not know; may be called
      # again. While Redis is away it goes on trying, in a thread of its own. The log says what answers, and that
      # Redis is away.
      # @return [self]
      # @raise [ConfigurationError] if an option is unknown or of the wrong type
      def connect
        @serving = true
        trying { connect_all }
        self
      end

      # Disconnects every channel that was connected here or by itself; waits for running handlers.
      # @param timeout [Numeric] seconds
      # @return [self]
      def disconnect(timeout: RedisIPC.configuration.shutdown_timeout)
        quiet
        @connecting&.join
        channels = @lock.synchronize { @connected.values.tap { @connected = {}.freeze } }
        channels.map { |channel| Thread.new { channel.disconnect(timeout: timeout) } }.each(&:join)
        self
      end

      # Connects no channel to answer from now on; those that are connected are not touched.
      # @api private
      def quiet
        @serving = false
        @watch.stop
        @connecting&.kill
      end

      # Connects, answers until the process is told to end (TERM or INT), and disconnects. Says on standard output what
      # the log says of that.
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
          # It may have been held when the process was forked.
          @lock = Monitor.new
          @serving = true
          # What asked in the parent must not connect again by itself, as it is connected here to answer. Who asks
          # meanwhile waits for that.
          @connected.each_value { |channel| channel.disconnect(timeout: 0) }
          connect_later
        end
      end

      # What the rake tasks do.
      # @api private
      def operations
        Operations.new(@configuration, @files)
      end

      # @api private
      def load_all
        @files.load_all
      end

      # Called for a channel that is used and not connected.
      # @api private
      def connect_to_ask(channel)
        @lock.synchronize { join(channel, serve: @serving && @files.include?(channel)) unless state_of(channel).open? }
      end

      # Called when Rails has loaded or reloaded the code: the new classes take over the connections of the old.
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

      # What could not be loaded when Rails reloaded the code is the news of each who asks, until it can be.
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

      # One whose Redis is away does not keep the others from answering.
      # @return [Array<CallError>] why some could not be connected: one for each Redis that is away
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

      # By itself it only asks, until it is connected here to answer.
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

      # @yieldreturn [Array<CallError>] what failed because Redis is away or refuses
      def trying
        failures = yield
        connect_later(failures) if failures.any?
      end

      # @param failures [Array<CallError>] of the attempt before
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
