# frozen_string_literal: true

module RedisIPC
  module Events
    # Decides what happens to an event whose handler raised: it is tried again, discarded, or given up on. It is frozen.
    # @api private
    class RetryPolicy
      # A rule of `retry_on` or `discard_on` for a class of exceptions.
      # @!attribute error_class [Module]
      # @!attribute action [Symbol] `:retry` or `:discard`
      # @!attribute wait [Numeric, Symbol, #call] seconds, `:exponential`, or what returns seconds for an attempt
      # @!attribute attempts [Integer, nil] nil means those of the consumer
      Rule = Struct.new(:error_class, :action, :wait, :attempts)

      # What happens to the event.
      # @!attribute action [Symbol] `:done`, `:retry`, `:discard`, `:bury`, or `:fail` for a batch that raised; with
      #   `exactly_once` `:skip` if it was done before, and `:refuse` if another process owns its lane
      # @!attribute error [Exception, nil]
      # @!attribute wait [Float, nil] seconds until it is tried again
      Decision = Struct.new(:action, :error, :wait) do
        # The name of the decision in notifications.
        def status
          STATUS.fetch(action)
        end

        # Whether the event needs no other try, and is no dead letter.
        def done?
          equal?(DONE) || FINAL.include?(action)
        end
      end

      FINAL = %i[done discard skip].freeze
      STATUS = { done: "done", retry: "retried", discard: "discarded", bury: "dead", fail: "failed",
                 skip: "skipped", refuse: "refused" }.freeze
      DONE = Decision.new(:done).freeze
      SKIP = Decision.new(:skip).freeze
      # The longest wait in seconds: 1, 2, 4 and so on up to this, plus up to 15 % at random, so that not all events
      # come back at the same moment.
      LONGEST = 3600.0
      JITTER = 0.15
      private_constant :FINAL, :STATUS, :LONGEST, :JITTER

      # @return [Integer] the most tries of an event, by any rule
      attr_reader :most_attempts

      # @param rules [Array<Rule>] the later one for the same class counts
      # @param attempts [Integer] for an exception without a rule
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
      # @return [Boolean] whether `retry_on` names it. Then the cause is outside, and not in one event of the batch
      def expected?(error)
        rule_for(error)&.action == :retry
      end

      private

      # Whether the event raised this itself because it cannot be read. It will not be readable later.
      def malformed?(error, event)
        error.is_a?(MalformedEntryError) && error.entry_id == event.position && error.stream == event.source
      end

      # Returns the rule of the most specific class.
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
