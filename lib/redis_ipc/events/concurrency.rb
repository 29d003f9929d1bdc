# frozen_string_literal: true

module RedisIPC
  module Events
    # How many events are handled at the same time, and by which kind of worker: the checked declaration `concurrency`
    # of a consumer. It is frozen.
    # @api private
    class Concurrency
      KINDS = %i[threads fibers processes ractors].freeze
      # How many handlers may run at the same time.
      HANDLERS = (1..1000)
      private_constant :KINDS, :HANDLERS

      # @param who [String] the class
      # @param options [Hash] what was declared
      # @return [Concurrency]
      # @raise [ConfigurationError]
      def self.of(who, options)
        Check.known(who, "concurrency", options, KINDS)
        Check.refuse("concurrency of #{who} needs a number: concurrency threads: 5") if options.empty?
        numbers = options.to_h { |kind, given| [kind, Check.number("#{kind}: of concurrency", given, HANDLERS)] }
        Executors.check(who, options.keys)
        numbers.key?(:processes) ? of_processes(who, numbers) : new(*numbers.first)
      end

      # @return [Concurrency]
      def self.of_processes(who, numbers)
        threads = numbers.fetch(:threads, 1)
        handlers = numbers[:processes] * threads
        return new(:processes, numbers[:processes], threads) if HANDLERS.cover?(handlers)

        Check.refuse("concurrency of #{who} is at most #{HANDLERS.last} threads in all processes, got #{handlers}")
      end
      private_class_method :of_processes

      # @return [Symbol] the kind of worker
      attr_reader :kind
      # @return [Integer] how many workers
      attr_reader :size
      # @return [Integer] how many handlers a worker runs at the same time
      attr_reader :threads

      def initialize(kind, size, threads = 1)
        @kind = kind
        @size = size
        @threads = threads
        freeze
      end

      # @return [Integer] how many handlers may run at the same time
      def handlers
        size * threads
      end
    end
    private_constant :Concurrency
  end
end
