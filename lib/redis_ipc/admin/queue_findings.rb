# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with queues of JSON-RPC.
    # @api private
    class QueueFindings < Findings
      private

      def look
        @overview.queues.each do |queue|
          nobody(queue)
          paused(queue, queue.name, queue.name, "")
          dead(queue)
        end
      end

      # A server that takes at most once, and writes no record, is not seen.
      def nobody(queue)
        return unless queue.waiting.to_i.positive? && queue.servers.none?(&:alive?)

        error(:nobody_serves, queue.name,
              "#{wait(queue.waiting, "request")}, and no server is alive", "start a server of #{queue.name}")
      end

      def dead(queue)
        return unless queue.dead.to_i.positive?

        were = queue.dead == 1 ? "was" : "were"
        warning(:dead_letters, queue.name, "#{count(queue.dead, "request")} #{were} given up on",
                "#{command("dead", "list", queue.name, "--rpc")}; mend the cause, then retry or discard them")
      end
    end
    private_constant :QueueFindings
  end
end
