# frozen_string_literal: true

require "objspace"

module RedisIPC
  # Makes the text of a NameError that Ruby raised, without the receiver's `inspect`.
  # @api private
  module NameErrorText
    CLASS = Kernel.instance_method(:class)
    NAME = Module.instance_method(:name)
    # Ruby raises these classes. The author of a subclass writes its message.
    BY_RUBY = [NameError, NoMethodError].freeze
    private_constant :CLASS, :NAME, :BY_RUBY

    class << self
      # @param error [NameError]
      # @return [String, nil] nil if its raiser wrote the message
      def of(error)
        return unless by_ruby?(error)

        name = error.name
        receiver = named(error.receiver)
        return "#{access(error)} method '#{name}' for #{receiver}" if error.is_a?(NoMethodError)

        case name
        when /\A@@/ then "uninitialized class variable #{name} in #{receiver}"
        when /\A[[:upper:]]\w*\z/
          "uninitialized constant #{"#{receiver}::" unless receiver == "Object"}#{name}"
        when /\A[[:lower:]_]\w*\z/ then "undefined local variable or method '#{name}' for #{receiver}"
        else "'#{name}' is not defined for #{receiver}"
        end
      end

      private

      # A String may be a secret. Ruby 3.3 and newer name its class, too.
      def named(receiver)
        String === receiver ? "an instance of String" : ErrorText.shown(receiver) # rubocop:disable Style/CaseEquality
      end

      # Returns whether Ruby has not made the message yet. The exception then refers to an object of an internal class
      # that makes it; if the raiser wrote the message, it is a String. Reading the message would call the receiver's
      # `inspect`.
      def by_ruby?(error)
        return false unless error.name && BY_RUBY.include?(error.class)

        ObjectSpace.reachable_objects_from(error).any? do |object|
          NAME.bind_call(CLASS.bind_call(object)) == "NameError::message"
        end
      end

      def access(error)
        kind = CLASS.bind_call(error.receiver)
        return "private" if kind.private_method_defined?(error.name)

        kind.protected_method_defined?(error.name) ? "protected" : "undefined"
      end
    end
  end
  private_constant :NameErrorText
end
