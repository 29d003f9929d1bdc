# frozen_string_literal: true

module RedisIPC
  class Admin
    # A request in the inbox of a group, or an event that is pending.
    class Request < Value
      # @return [String]
      attr_reader :stream
      # @return [String] the group that is asked
      attr_reader :group
      # @return [String, nil] the asker's id of it
      attr_reader :id
      # @return [String] Redis's id of the entry
      attr_reader :redis_id
      # @return [String, nil] the group that asks
      attr_reader :from
      # @return [Symbol] `:waiting`, `:taken`, or `:withdrawn`: it was taken, and its entry was deleted, because it was
      #   withdrawn, or answered and not acknowledged
      attr_reader :state
      # @return [Float] how many seconds ago it was sent
      attr_reader :age
      # @return [Integer, nil] how often it was delivered; nil if never
      attr_reader :delivery
      # @return [String, nil] the id of the instance that has it
      attr_reader :holder
      # @return [Float, nil] for how many seconds the holder has not renewed its lease
      attr_reader :idle
      # @return [Float, nil] the seconds until its deadline; negative if that has passed
      attr_reader :expires_in

      # @api private
      attr_reader :text

      hidden :text

      # @return [Object, nil] what was sent, in a {Tap}; nil elsewhere
      def content
        Native.load(text) if text
      rescue ContentError
        nil
      end

      # @return [String, nil] the event of a {Channel} that the content names, in a {Tap}
      def event
        content = self.content
        content[:event] if content.is_a?(Hash) && content[:event].is_a?(String)
      end
    end
  end
end
