# frozen_string_literal: true

module RedisIPC
  class Web
    # The dead letters of one group, whichever feature it belongs to. They are the methods of {Admin} under one name.
    # @api private
    class DeadLetterBox
      # The dead letters of a group of a stream.
      class OfRequests < DeadLetterBox
        KIND = "requests"

        def list(**options) = @admin.dead_letters(@stream, @group, **options)
        def find(id) = @admin.dead_letter(@stream, @group, id)
        def retry(id) = @admin.retry_dead_letter(@stream, @group, id)
        def discard(id) = @admin.discard_dead_letter(@stream, @group, id)
      end

      # The dead letters of a group of consumers of events.
      class OfEvents < DeadLetterBox
        KIND = "events"

        def list(**options) = @admin.event_dead_letters(@stream, @group, **options)
        def find(id) = @admin.event_dead_letter(@stream, @group, id)
        def retry(id) = @admin.event_retry_dead_letter(@stream, @group, id)
        def discard(id) = @admin.event_discard_dead_letter(@stream, @group, id)
      end

      # The dead requests of a queue of JSON-RPC.
      class OfQueue < DeadLetterBox
        KIND = "queue"

        # So many requests are searched by what is not content.
        SEARCHED = 1_000

        def name = @stream

        def search(match, content:, limit:, after:)
          return list(limit: limit, after: after, match: match) if match.nil? || content

          found = list(limit: SEARCHED, after: after).select { |letter| "#{letter.id} #{letter.event}".include?(match) }
          found.first(limit)
        end

        def list(**options) = @admin.queue_dead(@stream, **options)
        def find(id) = @admin.queue_dead_letter(@stream, id)
        def retry(id) = @admin.queue_retry_dead_letter(@stream, id)
        def discard(id) = @admin.queue_discard_dead_letter(@stream, id)
      end

      KINDS = [OfRequests, OfEvents, OfQueue].to_h { |one| [one::KIND, one] }.freeze
      private_constant :OfRequests, :OfEvents, :OfQueue, :KINDS

      class << self
        # @param admin [Admin]
        # @param request [Request]
        # @return [DeadLetterBox, nil] nil if the request names no group
        # @raise [BadRequest] for a kind that does not exist
        def asked_for(admin, request)
          stream = request[:stream] or return
          kind = KINDS[request[:kind] || OfRequests::KIND] or raise BadRequest, Strings.text(:unknown_kind)

          kind.new(admin, stream, kind == OfQueue ? nil : request.fetch(:group))
        end

        # @param admin [Admin]
        # @return [Array<DeadLetterBox>] those that have letters
        def filled(admin)
          overview = admin.overview
          boxes = groups_of(admin, OfRequests, overview.groups) + groups_of(admin, OfEvents, overview.event_groups) +
                  overview.queues.map { |queue| OfQueue.new(admin, queue.name, nil, count: queue.dead) }
          boxes.select { |box| box.count.to_i.positive? }
        end

        private

        def groups_of(admin, kind, groups)
          groups.map { |group| kind.new(admin, group.stream, group.name, count: group.dead) }
        end
      end

      # @return [Integer, nil] how many letters there are
      attr_reader :count

      # @param admin [Admin]
      # @param stream [String] the stream or the queue
      # @param group [String, nil]
      # @param count [Integer, nil]
      def initialize(admin, stream, group, count: nil)
        @admin = admin
        @stream = stream
        @group = group
        @count = count
      end

      # Letters with a text in them. The content counts only for those who may see it: else they could guess it.
      # @param match [String, nil]
      # @param content [Boolean]
      # @return [Array<Admin::DeadLetter>] the newest first
      def search(match, content:, limit:, after:)
        list(limit: limit, after: after, match: match, match_content: content)
      end

      # @return [String] how people call it
      def name
        "#{@stream}/#{@group}"
      end

      # @return [String]
      def kind
        self.class::KIND
      end

      # @return [Hash{Symbol => String, nil}] what names it in a link
      def parameters
        { kind: kind, stream: @stream, group: @group }
      end
    end
  end
end
