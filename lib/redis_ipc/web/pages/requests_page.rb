# frozen_string_literal: true

module RedisIPC
  class Web
    # The requests that wait or run: of one group, or of all that have some.
    # @api private
    class RequestsPage < Page
      TEMPLATE = :requests
      SECTION = :requests
      LIMIT = 100
      # A page asks Redis for the requests of so many groups at most.
      GROUPS = 20
      private_constant :LIMIT, :GROUPS

      # @return [Array<Admin::Group>] those that can be chosen
      attr_reader :groups
      # @return [Array<Array(Admin::Group, Array<Admin::Request>)>]
      attr_reader :lists
      # @return [Admin::Group, nil] the one that is chosen
      attr_reader :chosen
      # @return [Admin::Trace, nil] where the request is that was searched for
      attr_reader :trace

      # @return [String, nil] the id that was searched for
      def id
        request[:id]
      end

      # @return [String, nil] the Redis id behind which the next page begins
      def following
        list = chosen && lists.first&.last
        list.last.redis_id if list && list.size >= LIMIT
      end

      # @return [Hash]
      def to_h
        { requests: lists.map { |group, list| { stream: group.stream, group: group.name, requests: hashes(list) } },
          trace: trace&.to_h }
      end

      private

      def read
        @groups = admin.overview.groups
        @chosen = found(choose, request[:group]) if request[:group]
        @trace = find_trace if id
        @lists = id ? [] : shown.map { |group| [group, list(group)] }
      end

      def choose
        groups.find { |group| group.stream == request[:stream] && group.name == request[:group] }
      end

      def find_trace
        stream = request[:stream] || groups.first&.stream
        stream && admin.trace(stream, id)
      end

      def shown
        return [chosen] if chosen

        groups.select { |group| group.waiting.to_i.positive? || group.busy.to_i.positive? }.first(GROUPS)
      end

      def list(group)
        admin.requests(group.stream, group.name, limit: LIMIT, after: chosen && request[:after])
      end
    end
  end
end
