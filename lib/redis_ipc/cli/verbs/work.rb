# frozen_string_literal: true

require_relative "../application_verb"
require_relative "../probes_port"

module RedisIPC
  module CLI
    module Verbs
      # Runs the channels and consumers of an application, and acts on signals.
      # @api private
      class Work < ApplicationVerb
        verb "work"
        summary "run the channels and consumers of an application"
        about <<~TEXT
          Runs the channels and consumers of the Rails application in this folder; with FILES, those that are defined in
          these Ruby files.

          Signals: TERM and INT end it in order, a second one at once; TSTP pauses consumers, CONT resumes them; TTIN
          prints the backtraces of all threads.
        TEXT
        argument :files, "Ruby files that define channels and consumers", many: true
        option :timeout, "-t", "--timeout SECONDS", "what runs at the end gets so long (25)",
               type: Float, default: 25.0, least: 0
        option :probes, "--probes ADDRESS",
               "answer /livez, /readyz and /metrics there: 9394 (for this machine), 0.0.0.0:9394"
        option :stuck_after, "--stuck-after SECONDS", "a handler that runs for longer hangs, for /livez (60)",
               type: Float, default: 60.0, over: 0
        shares :application
        ends_with 0 => "it was told to end",
                  1 => "a class is wrong, there is nothing to run, the address of --probes cannot be had, or it was " \
                       "told twice to end"
        example "bundle exec redis_ipc work", "runs what the Rails application in this folder has"
        example "redis_ipc work consumers.rb --only Billing", "runs one class of a file"

        ENDS = %w[TERM INT].freeze
        SIGNALS = [*ENDS, "TSTP", "CONT", "TTIN"].freeze
        # A supervisor that signals a process and its group sends the same signal twice. Within so many seconds that is
        # one signal.
        TOGETHER = 0.3
        private_constant :ENDS, :SIGNALS, :TOGETHER

        # @return [Integer] the exit status
        def run
          @told = Queue.new
          @probes = ProbesPort.new(given[:probes], given[:stuck_after]) if given[:probes]
          found = load_application
          return fail_with("there is nothing to run in #{@application.place}") if found.empty?

          # Before anything is connected: until then the process is alive, and not ready.
          return ExitStatus::FINDING unless answer_probes

          watch_signals
          @starting = Thread.new { start }
          obey
        end

        private

        # @return [Boolean] false if the address cannot be had
        def answer_probes
          announcer.info("redis_ipc answers probes on #{@probes.open}") if @probes
          true
        rescue SystemCallError, SocketError => e
          fail_with("--probes #{given[:probes]}: #{e.message}")
          false
        end

        def announcer
          @application.announcer
        end

        # Nothing but this acts on a signal: a trap block may not wait for a lock.
        def watch_signals
          SIGNALS.each { |signal| trap(signal) { @told << signal } }
        end

        # A signal that comes while this connects is acted on at once.
        def start
          Thread.current.report_on_exception = false
          @application.start
        rescue StandardError, ScriptError => e
          @told << e
        end

        # @return [Integer] the exit status
        def obey
          loop do
            told = @told.pop
            raise told if told.is_a?(Exception)
            return drain(told) if ENDS.include?(told)

            act_on(told)
          end
        end

        def act_on(signal)
          case signal
          when "TSTP" then pause
          when "CONT" then resume
          when "TTIN" then print_backtraces
          end
        end

        def pause
          @application.pause
          announcer.info("redis_ipc pauses on SIGTSTP: consumers take no more events until SIGCONT")
          @paused = true
        end

        # A shell sends CONT too, to a process that it had stopped.
        def resume
          return unless @paused

          announcer.info("redis_ipc goes on after SIGCONT")
          @application.resume
          @paused = false
        end

        # Takes no more, lets running handlers end, and hands the rest back.
        # @return [Integer] the exit status
        def drain(signal)
          first = [signal, Monotonic.now]
          announcer.info("redis_ipc ends on SIG#{signal}: what runs gets #{seconds}")
          Thread.new { stop }
          loop do
            case told = @told.pop
            when :stopped then return 0
            when Exception then raise told
            when *ENDS then end_at_once(told) unless same?(told, *first)
            when "TTIN" then print_backtraces
            end
          end
        end

        def same?(signal, first, at)
          signal == first && Monotonic.now - at < TOGETHER
        end

        def stop
          @starting.kill.join
          @application.quiet
          RedisIPC.disconnect(timeout: given[:timeout])
          @told << :stopped
        rescue StandardError => e
          @told << e
        end

        def end_at_once(signal)
          @announcer.error("redis_ipc ends at once on a second SIG#{signal}: what runs is not waited for")
          exit!(1)
        end

        def print_backtraces
          Thread.list.each do |thread|
            lines = thread.backtrace
            @announcer.error(["redis_ipc thread #{name_of(thread)} #{thread.status}",
                              *(lines || ["no backtrace"])].join("\n  "))
          end
        end

        def name_of(thread)
          thread.name || (thread == Thread.main ? "main" : thread.inspect)
        end

        def seconds
          "#{given[:timeout].to_s.delete_suffix(".0")} s"
        end
      end
    end
  end
end
