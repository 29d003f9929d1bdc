# frozen_string_literal: true

module RedisIPC
  module Events
    # How many events are handled at the same time, and by what: the word `concurrency` of a consumer, checked. It is
    # frozen.
    # @api private
    class Concurrency
      KINDS = %i[threads fibers processes ractors].freeze
      # How many handlers may run at the same time.
      HANDLERS = (1..1000)
      private_constant :KINDS, :HANDLERS

      # @param who [String] the class
      # @param options [Hash] what was said
      # @return [Concurrency]
      # @raise [ConfigurationError]
      def self.of(who, options)
        Check.known(who, "concurrency", options, KINDS)
        absent = (options.keys - %i[threads fibers]).first
        Check.refuse("concurrency #{absent}: is not there yet: only threads: and fibers: are") if absent
        Check.refuse("concurrency of #{who} needs a number: concurrency threads: 5") if options.empty?
        Check.refuse("concurrency of #{who} is either threads: or fibers:, not both") if options.size > 1
        kind, size = options.first
        Executors::Fibers.check(who) if kind == :fibers
        new(kind, Check.number("#{kind}: of concurrency", size, HANDLERS))
      end

      # @return [Symbol] the kind of worker
      attr_reader :kind
      # @return [Integer] how many workers
      attr_reader :size

      def initialize(kind, size)
        @kind = kind
        @size = size
        freeze
      end

      # @return [Integer] how many handlers may run at the same time
      def handlers
        size
      end
    end
    private_constant :Concurrency
  end
end
