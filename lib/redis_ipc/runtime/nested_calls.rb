# frozen_string_literal: true

module RedisIPC
  # Watches calls that handlers make to their own group (or JSON-RPC methods to their own queue). While every thread of
  # an instance waits for such a call, only another instance can answer it. A call that times out then says so.
  # @api private
  module NestedCalls
    class << self
      # @param place [String] what is asked: a stream, with a group, or a queue
      # @param group [String, nil]
      # @yield waits for the answer
      def watch(place, group = nil)
        pool = ThreadPool.current
        # Under a scheduler the thread runs other fibers meanwhile.
        return yield if pool.nil? || !pool.serves?(place, group) || FiberWaker.needed?

        pool.wait_for_own do |exhausted|
          yield
        rescue TimeoutError => e
          raise exhausted.call ? explained(e, pool.size) : e
        end
      end

      private

      def explained(error, threads)
        threads = threads == 1 ? "the only handler thread" : "all #{threads} handler threads"
        # The core knows from Redis that no other instance took the request, but not why.
        others = ", nor did another instance take the request" if error.outcome == :unclaimed
        why = "#{threads} of this instance waited for answers of their own group, so none was left to " \
              "answer#{others}: have more threads or instances than such calls at once, or answer without asking " \
              "your own group"
        TimeoutError.new("#{error.message}; #{why}", outcome: error.outcome, stream: error.stream, group: error.group,
                                                     entry_id: error.entry_id, redis: error.redis)
      end
    end
  end
  private_constant :NestedCalls
end
