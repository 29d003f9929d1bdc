# frozen_string_literal: true

module RedisIPC
  class Admin
    # A request or an event that was given up on. Its content is read only when it is asked for.
    class DeadLetter < Value
      # @return [String] the stream, or the queue
      attr_reader :stream
      # @return [String, nil] the group; nil of a queue
      attr_reader :group
      # @return [String] the id of the letter
      attr_reader :id
      # @return [String, nil] the asker's id of the request
      attr_reader :request_id
      # @return [String, nil] the id that the request or the event had in its stream
      attr_reader :redis_id
      # @return [String, nil] the stream of the event, if its consumer has several
      attr_reader :source
      # @return [String, nil] the group that asked
      attr_reader :from
      # @return [String, nil] the type of the event, or the method that was called
      attr_reader :event
      # @return [String, nil] the key of the event
      attr_reader :key
      # @return [String, nil] why it was given up on
      attr_reader :reason
      # @return [Integer, nil] how often it was delivered
      attr_reader :deliveries
      # @return [Time, nil] when it was given up on, on Redis's clock
      attr_reader :died_at
      # @return [Array<Hash{Symbol => Object}>, nil] who had it: `instance`, `host`, `pid` and `delivery` of each, the
      #   first one first
      attr_reader :holders

      # @api private
      attr_reader :reader, :suspect

      # Returns whether it is a mark of a request that may have crashed its processes, and that runs again now. The mark
      # goes when the request is answered: do not retry it while the request is still in the inbox.
      # @return [Boolean]
      def suspect?
        @suspect
      end

      hidden :reader

      # @return [Object, nil] what was sent; nil if that cannot be read, or the letter is gone
      # @raise [CallError] if Redis cannot be reached or refuses
      def content
        text = fields["content"] || fields["data"]
        Native.load(text.scrub) if text
      rescue ContentError
        nil
      end

      # @return [Hash{String => String}] everything in the letter, as it is; empty if the letter is gone
      # @raise [CallError] if Redis cannot be reached or refuses
      def fields
        reader.call || {}
      end
    end
  end
end
