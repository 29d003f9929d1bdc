# frozen_string_literal: true

module RedisIPC
  # Stands in for the engine of an object that Marshal loaded: such a copy belongs to no connection.
  # @api private
  class NoEngine
    # @param what [String] the kind of object that was loaded
    # @param where [Hash] as for {Error#initialize}
    def initialize(what, **where)
      @what = what
      @where = where
      freeze
    end

    %i[fulfill reject reject_because expired? now_ms retry_dead_letter discard_dead_letter].each do |name|
      define_method(name) do |*|
        text = "this #{@what} is a copy that Marshal loaded, and belongs to no connection: it can only be read. Use " \
               "the original"
        raise NotConnectedError.new(text, outcome: :not_sent, **@where)
      end
    end
  end
  private_constant :NoEngine
end
