# frozen_string_literal: true

module RedisIPC
  # Refuses Marshal for objects that are, or belong to, a connection of this process.
  # @api private
  module Undumpable
    # Ruby's own message would name an object deep inside, such as a Mutex.
    # @raise [TypeError]
    def marshal_dump
      raise TypeError, "a #{self.class} cannot be dumped: it belongs to a connection of this process"
    end
  end
  private_constant :Undumpable
end
