# frozen_string_literal: true

module RedisIPC
  class Web
    # The dead letters of a group, a queue or a consumer of events; or which of these have some.
    # @api private
    class DeadPage < Page
      TEMPLATE = :dead
      SECTION = :dead
      LIMIT = 50
      private_constant :LIMIT

      # @return [DeadLetterBox, nil]
      attr_reader :box
      # @return [Array<DeadLetterBox>] those that have letters
      attr_reader :boxes
      # @return [Array<Admin::DeadLetter>] the newest first
      attr_reader :letters

      # @return [String]
      def title
        box ? Strings.text(:dead_of, name: box.name) : super
      end

      # @return [String, nil] what is searched for
      def match
        request[:match]
      end

      # @return [String, nil] the id behind which the next page begins
      def following
        letters.last.id if letters.size >= LIMIT
      end

      # @return [Hash]
      def to_h
        return { dead_letters: boxes.map { |one| one.parameters.merge(count: one.count) } } unless box

        { **box.parameters, letters: hashes(letters) }
      end

      private

      def read
        @box = DeadLetterBox.asked_for(admin, request)
        @boxes = box ? [] : DeadLetterBox.filled(admin)
        @letters = box ? search : []
      end

      def search
        box.search(match, content: permissions.content?, limit: LIMIT, after: request[:after])
      end
    end
  end
end
