# frozen_string_literal: true

module RedisIPC
  class Web
    # One dead letter, with its content if that may be seen.
    # @api private
    class DeadLetterPage < Page
      TEMPLATE = :dead_letter
      SECTION = :dead

      # @return [DeadLetterBox]
      attr_reader :box
      # @return [Admin::DeadLetter]
      attr_reader :letter

      # @return [String]
      def title
        Strings.text(:dead_letter_title, id: letter.id, name: box.name)
      end

      # @return [Hash]
      def to_h
        { **box.parameters, letter: letter.to_h, **contents }
      end

      # @return [Object, nil] what was sent
      def content
        @content ||= letter.content
      end

      # @return [Hash{String => String}] what the letter has besides
      def fields
        @fields ||= letter.fields
      end

      private

      def contents
        permissions.content? ? { content: content, fields: fields } : {}
      end

      def read
        id = request.fetch(:id)
        @box = found(DeadLetterBox.asked_for(admin, request), id)
        @letter = found(box.find(id), id)
      end
    end
  end
end
