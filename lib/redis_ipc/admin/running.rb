# frozen_string_literal: true

module RedisIPC
  class Admin
    # A request or an event whose handler runs now.
    class Running < Value
      # @return [String, nil] the id of the request, or of the event
      attr_reader :id
      # @return [String, nil] the group that asks
      attr_reader :from
      # @return [String, nil] the name of the event or method, if it is known
      attr_reader :event
      # @return [Integer, nil] which delivery it is; over 1 if it may have run before
      attr_reader :delivery
      # @return [Float, nil] for how many seconds it had been running when its instance wrote that down
      attr_reader :age
      # @return [String, nil] where it stands in the application's code, once it runs longer than a lease
      attr_reader :frame
    end
  end
end
