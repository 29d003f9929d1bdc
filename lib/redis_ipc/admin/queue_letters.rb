# frozen_string_literal: true

require "digest"

module RedisIPC
  class Admin
    # Reads the requests of a queue that were given up on. A list has no ids, so the digest of its text stands for a
    # request. Texts that are equal share it.
    # @api private
    class QueueLetters
      # The most requests that one round trip looks at.
      PAGE = 200
      # The text before the JSON that names the list for the answer (docs/json_rpc.md, "A request").
      PREFIX = /\A[^\[{"]{0,8192}!(?=[\[{])/
      private_constant :PAGE, :PREFIX

      # @param link [Link]
      # @param queue [String]
      def initialize(link, queue)
        @link = link
        @queue = queue
      end

      # @param after [String, nil] the id of the last one of the page before
      # @param match [String, nil] only those with this text
      # @return [Array<DeadLetter>] the newest first
      # @raise [CallError] if Redis cannot be reached or refuses
      def page(limit, after, match)
        texts = all.lazy
        texts = texts.drop_while { |text| id(text) != after }.drop(1) if after
        texts = texts.select { |text| text.include?(match) } if match
        texts.first(limit).map { |text| letter(text) }.freeze
      end

      # @return [DeadLetter, nil]
      # @raise (see #page)
      def find(id)
        text = text(id)
        letter(text) if text
      end

      # @return [Boolean] false if it is not there any more
      # @raise (see #page)
      def act(name, id)
        text = text(id)
        text ? @link.call(name, @queue, text) : false
      end

      private

      def text(id)
        all.find { |text| id(text) == id }
      end

      def all
        Enumerator.new do |texts|
          (0..).step(PAGE) do |first|
            page = @link.read([[:queue_dead_letters, @queue, first, PAGE]]).first
            raise page if page.is_a?(Exception)

            page.each { |text| texts << text }
            break if page.size < PAGE
          end
        end
      end

      def id(text)
        Digest::SHA1.hexdigest(text)
      end

      def letter(text)
        request = request(text)
        id = id(text)
        DeadLetter.new(stream: @queue, id: id, suspect: false, request_id: request["id"]&.to_s, event: method(request),
                       reader: -> { (found = text(id)) && { "content" => found.sub(PREFIX, "") } })
      end

      def method(request)
        request["method"] if request["method"].is_a?(String)
      end

      # Of a batch the first request stands for all.
      def request(text)
        request = JSON.parse(text.scrub.sub(PREFIX, ""))
        request = request.first if request.is_a?(Array)
        request.is_a?(Hash) ? request : {}
      rescue JSON::ParserError, EncodingError
        {}
      end
    end
    private_constant :QueueLetters
  end
end
