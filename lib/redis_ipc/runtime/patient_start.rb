# frozen_string_literal: true

module RedisIPC
  # Starts what needs Redis, and goes on trying in a thread while Redis is away or refuses.
  # @api private
  class PatientStart
    # Starts each by the block. If the Redis of one is away, those of others are started all the same.
    # @param classes [Enumerable<Class>]
    # @param redis_of [#call] returns what names the Redis of a class
    # @yieldparam one [Class]
    # @return [Array<CallError>] the failures: one for each Redis that is away
    def self.each(classes, redis_of)
      away = {}
      classes.filter_map do |one|
        redis = redis_of.call(one)
        yield one unless away[redis]
        nil
      rescue ConnectionError, CommandError => e
        away[redis] = e.is_a?(ConnectionError) && !e.is_a?(DatabaseUnreachableError)
        e
      end
    end

    # @param what [String] what is started, such as "channels": for the log and the thread's name
    # @param announcer [#error] is told why an attempt failed
    # @param around [#call] surrounds an attempt in the thread
    # @yieldreturn [Array<CallError>] the failures of one attempt, because Redis is away or refuses; none: it is done
    def initialize(what, announcer, around: nil, &attempt)
      @what = what
      @announcer = announcer
      @around = around || ->(&block) { block.call }
      @attempt = attempt
    end

    # Tries in this thread, and, if that fails, in a thread of its own from then on.
    # @yield instead of the usual attempt
    # @return [void]
    def now(&attempt)
      failures = (attempt || @attempt).call
      later(failures) if failures.any?
    end

    # Tries in a thread of its own, unless one does so already.
    # @param failures [Array<CallError>] those of the attempt before
    # @return [void]
    def later(failures = [])
      return if @thread&.alive?

      @thread = Thread.new { keep_trying(failures) }
      @thread.name = "redis_ipc start #{@what}"
      @thread.report_on_exception = false
    end

    # Gives up.
    # @return [void]
    def stop
      @thread&.kill
    end

    # Waits until the thread has ended.
    # @return [void]
    def join
      @thread&.join
    end

    private

    def keep_trying(failures)
      patience = Patience.new
      loop do
        if failures.any?
          patience.failed(failures.map(&:message)) { |text| @announcer.error("redis_ipc: #{text}; trying again") }
        end
        failures = @around.call { @attempt.call }
        break if failures.empty?
      end
    rescue StandardError, ScriptError => e
      @announcer.error("redis_ipc: the #{@what} cannot be started: #{e.class}: #{e.message}")
    end
  end
  private_constant :PatientStart
end
