# frozen_string_literal: true

module RedisIPC
  module Events
    # Checks what a consumer class declares about failures.
    # @api private
    module RuleWords
      RETRY = %i[wait attempts].freeze
      ATTEMPTS = (1..1000)
      private_constant :RETRY, :ATTEMPTS

      class << self
        # @param who [String] the class
        # @param action [Symbol] `:retry` or `:discard`
        # @return [Array<RetryPolicy::Rule>] one for each class
        def rules(who, action, classes, options)
          word = "#{action}_on"
          Check.refuse("#{word} of #{who} needs a class of exceptions") if classes.empty?
          Check.known(who, word, options, action == :retry ? RETRY : [])
          wait = wait(options.fetch(:wait, :exponential)) if action == :retry
          attempts = options[:attempts]&.then { |count| Check.number("attempts: of #{word}", count, ATTEMPTS) }
          classes.map { |one| RetryPolicy::Rule.new(error_class(word, one), action, wait, attempts).freeze }
        end

        # @param given [Object]
        # @return [Integer] how often an event is tried
        def attempts(given)
          Check.number("the option attempts", given, ATTEMPTS)
        end

        private

        def wait(given)
          return given if given == :exponential || given.respond_to?(:call) || Check.seconds?(given)

          Check.refuse("wait: of retry_on must be a number of seconds, :exponential, or a Proc that returns seconds " \
                       "for an attempt, got #{given.inspect}")
        end

        def error_class(word, given)
          # `rescue` accepts a module, too.
          return given if given.instance_of?(Module) || (given.is_a?(Class) && given <= Exception)

          Check.refuse("#{word} needs classes of exceptions, got #{given.inspect}")
        end
      end
    end
    private_constant :RuleWords
  end
end
