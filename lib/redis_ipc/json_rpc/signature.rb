# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # The parameters of a method. It binds those of a request to them, passed by position or by name, however the method
    # declares them: positions go to the parameters in the order of their declaration, names to those of that name.
    # @api private
    class Signature
      # Raised if the parameters do not fit.
      class Mismatch < StandardError; end

      POSITIONAL = %i[req opt].freeze
      KEYS = %i[keyreq key].freeze
      private_constant :POSITIONAL, :KEYS

      # @param callable [Proc, Method]
      def self.of(callable)
        return new(callable.parameters) unless callable.is_a?(Proc) && !callable.lambda?

        # The parameters of a block all look optional; those of a method made of it look as declared.
        new(Module.new { define_method(:call, &callable) }.instance_method(:call).parameters)
      end

      # @param parameters [Array<Array(Symbol, Symbol)>] as `Method#parameters` has them
      def initialize(parameters)
        @positional = parameters.select { |kind, _| POSITIONAL.include?(kind) }
        @keys = parameters.select { |kind, _| KEYS.include?(kind) }
        @rest = parameters.any? { |kind, _| kind == :rest }
        @keyrest = parameters.any? { |kind, _| kind == :keyrest }
        freeze
      end

      # @param params [Array, Hash{Symbol => Object}, nil]
      # @return [Array(Array, Hash)] the positional and the keyword arguments of the method
      # @raise [Mismatch]
      def bind(params)
        arguments, named = params.is_a?(Hash) ? bind_names(params) : bind_positions(params || [])
        check(arguments, named)
        [arguments, named]
      end

      private

      def bind_positions(values)
        return [values, {}] if @rest

        arguments = values.first(@positional.size)
        left = values.drop(@positional.size)
        mismatch("#{values.size} parameters, at most #{@positional.size + @keys.size}") if left.size > @keys.size
        [arguments, @keys.first(left.size).to_h { |_, name| [name, left.shift] }]
      end

      def bind_names(values)
        check_positional(values)
        given = @positional.map(&:last).select { |name| values.key?(name) }
        named = values.except(*given)
        arguments = values.values_at(*given)
        return [arguments, named] if @keyrest

        unknown = named.keys - @keys.map(&:last)
        mismatch("no parameter is named #{unknown.first.to_s.inspect}") unless unknown.empty?
        [arguments, named]
      end

      # Ruby fills the parameters without a default, and then those with one from the left.
      def check_positional(values)
        missing = @positional.find { |kind, name| kind == :req && !values.key?(name) }
        mismatch("the parameter #{missing.last} is missing") if missing

        check_defaults(values)
      end

      def check_defaults(values)
        optional = @positional.filter_map { |kind, name| name if kind == :opt }
        skipped, *later = optional.drop_while { |name| values.key?(name) }
        given = later.find { |name| values.key?(name) }
        mismatch("the parameter #{given} cannot be given without #{skipped}, which stands before it") if given
      end

      def check(arguments, named)
        # Parameters with a default may stand before those without.
        required = @positional.count { |kind, _| kind == :req }
        mismatch("#{arguments.size} parameters, at least #{required}") if arguments.size < required
        missing = @keys.find { |kind, name| kind == :keyreq && !named.key?(name) }
        mismatch("the parameter #{missing.last} is missing") if missing
      end

      def mismatch(why)
        raise Mismatch, why
      end
    end
  end
end
