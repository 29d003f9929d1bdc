# frozen_string_literal: true

module RedisIPC
  # Extends a class of which each event gets an instance: its subclasses need no arguments for one.
  # @api private
  module InstancePerEvent
    private

    def method_added(name)
      super
      return unless name == :initialize
      return if instance_method(name).parameters.none? { |kind, _| %i[req keyreq].include?(kind) }

      raise ArgumentError, "initialize of #{self} must need no arguments: each event gets an instance, made without any"
    end
  end
  private_constant :InstancePerEvent
end
