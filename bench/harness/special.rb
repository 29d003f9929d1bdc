# frozen_string_literal: true

module Bench
  # Measures what is not a call.
  module Special
    class << self
      # Measures how fast an instance works off the requests that wait for it.
      def drain(requests:)
        server = RedisServer.new
        backlog = Backlog.new(server)
        backlog.fill("child", requests)
        player = Player.new("gem", "answer", port: server.port)
        began = now
        left = backlog.size("child")
        sleep 0.005 until backlog.size("child").zero?
        { requests_s: left / (now - began) }
      ensure
        player&.stop
        server&.stop
      end

      # Measures how fast a server works off JSON-RPC requests that wait for it: the gem's with 16 threads, the others
      # with their own loops.
      def serve(peer, requests:)
        server = RedisServer.new
        backlog = CallBacklog.new(server)
        backlog.fill(requests)
        threads = { workers: 16 } if Cases::JSON_RPC.include?(peer)
        player = Player.new(peer, "answer", port: server.port, **threads.to_h)
        sleep 0.001 while (done = backlog.answered).zero?
        began = now
        sleep 0.005 until backlog.answered == requests
        { requests_s: (requests - done) / (now - began) }
      ensure
        player&.stop
        server&.stop
      end

      # Measures how long `require` and connecting take on both sides.
      def start(peer)
        server = RedisServer.new
        answerer = Player.new(peer, "answer", port: server.port)
        asker = Player.new(peer, "ask", { port: server.port }.merge(answerer.greeting.slice(:address)))
        { require_ms: answerer.greeting[:require_ms], answerer_connect_ms: answerer.greeting[:connect_ms],
          connect_ms: asker.greeting[:connect_ms] }
      ensure
        [asker, answerer, server].compact.each(&:stop)
      end

      # Measures the cost of an idle answering process, beside a bare Ruby.
      def idle(peer, seconds)
        server = RedisServer.new
        bare = Player.new("none", "answer")
        player = Player.new(peer, "answer", port: server.port)
        # By then, connecting is over.
        sleep 2
        commands = server.commands
        cpu = player.cpu_us
        began = now
        sleep seconds
        took = now - began
        { commands_s: (server.commands - commands) / took, cpu_percent: (player.cpu_us - cpu) / took / 1e4,
          rss_mib: (player.rss_kib - bare.rss_kib) / 1024.0, bare_rss_mib: bare.rss_kib / 1024.0 }
      ensure
        [player, bare, server].compact.each(&:stop)
      end

      private

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
