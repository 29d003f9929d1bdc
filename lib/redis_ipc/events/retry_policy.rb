# frozen_string_literal: true

module RedisIPC
  module Events
    # Decides what becomes of an event whose handler raised: it is tried again, discarded, or given up on. It is frozen.
    # @api private
    class RetryPolicy
      # What `retry_on` and `discard_on` say of a class of exceptions.
      # @!attribute error_class [Module]
      # @!attribute action [Symbol] `:retry` or `:discard`
      # @!attribute wait [Numeric, Symbol, #call] seconds, `:exponential`, or what returns seconds for an attempt
      # @!attribute attempts [Integer, nil] nil means those of the consumer
      Rule = Struct.new(:error_class, :action, :wait, :attempts)

      # What becomes of the event.
      # @!attribute action [Symbol] `:done`, `:retry`, `:discard`, `:bury`, or `:fail` for a batch that raised; with
      #   `exactly_once` `:skip` if it was done before, and `:refuse` if its lane is another process's
      # @!attribute error [Exception, nil]
      # @!attribute wait [Float, nil] seconds until it is tried again
      Decision = Struct.new(:action, :error, :wait) do
        # What notifications call it.
        def status
          STATUS.fetch(action)
        end

        # Returns whether the event needs no other try, and is no dead letter.
        def done?
          equal?(DONE) || FINAL.include?(action)
        end
      end

      FINAL = %i[done discard skip].freeze
      STATUS = { done: "done", retry: "retried", discard: "discarded", bury: "dead", fail: "failed",
                 skip: "skipped", refuse: "refused" }.freeze
      DONE = Decision.new(:done).freeze
      SKIP = Decision.new(:skip).freeze
      # Seconds: 1, 2, 4 and so on, and up to 15 % more at random, so that not all come back at the same moment.
      LONGEST = 3600.0
      JITTER = 0.15
      private_constant :FINAL, :STATUS, :LONGEST, :JITTER

      # @return [Integer] how often an event is tried at most, by any rule
      attr_reader :most_attempts

      # @param rules [Array<Rule>] the later one of the same class counts
      # @param attempts [Integer] of an exception without a rule of its own
      def initialize(rules, attempts)
        @rules = rules.to_h { |rule| [rule.error_class, rule] }.freeze
        @attempts = attempts
        @most_attempts = [attempts, *rules.filter_map(&:attempts)].max
        freeze
      end

      # @param error [Exception]
      # @param event [ChangeEvent]
      # @return [Decision]
      def decide(error, event)
        return Decision.new(:bury, error) if malformed?(error, event)

        rule = rule_for(error)
        return Decision.new(:discard, error) if rule&.action == :discard
        return Decision.new(:bury, error) if event.attempt >= (rule&.attempts || @attempts)

        Decision.new(:retry, error, seconds(rule&.wait || :exponential, event.attempt))
      end

      # @param error [Exception]
      # @return [Boolean] whether `retry_on` names it. Then it is a failure of something outside, and not of one event
      def expected?(error)
        rule_for(error)&.action == :retry
      end

      private

      # The event says of itself that it cannot be read. It will not be readable later.
      def malformed?(error, event)
        error.is_a?(MalformedEntryError) && error.entry_id == event.position && error.stream == event.source
      end

      # The rule of the most specific class.
      def rule_for(error)
        return if @rules.empty?

        error.class.ancestors.each { |one| return @rules[one] if @rules.key?(one) }
        nil
      end

      def seconds(wait, attempt)
        case wait
        when :exponential then [2.0**[attempt - 1, 20].min, LONGEST].min * (1 + (rand * JITTER))
        when Numeric then wait.to_f
        else from_call(wait, attempt)
        end
      end

      def from_call(wait, attempt)
        Monotonic.finite(wait.call(attempt))
      rescue StandardError => e
        ErrorReport.warning("redis_ipc: wait: of retry_on raised #{LogText.error(e)}; the event waits exponentially")
        seconds(:exponential, attempt)
      end
    end
    private_constant :RetryPolicy
  end
end
