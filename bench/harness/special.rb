# frozen_string_literal: true

module Bench
  # Measurements that are not of calls.
  module Special
    class << self
      # How fast an instance works off what waits for it.
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

      # How fast a server works off JSON-RPC requests that wait for it: the gem's with 16 threads, the others with the
      # loops they have.
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

      # How long `require` and connecting take; both sides.
      def start(peer)
        server = RedisServer.new
        answerer = Player.new(peer, "answer", port: server.port)
        asker = Player.new(peer, "ask", { port: server.port }.merge(answerer.greeting.slice(:address)))
        { require_ms: answerer.greeting[:require_ms], answerer_connect_ms: answerer.greeting[:connect_ms],
          connect_ms: asker.greeting[:connect_ms] }
      ensure
        [asker, answerer, server].compact.each(&:stop)
      end

      # What a process costs that has nothing to do: an answering one, beside a bare Ruby.
      def idle(peer, seconds)
        server = RedisServer.new
        bare = Player.new("none", "answer")
        player = Player.new(peer, "answer", port: server.port)
        # Connecting is over.
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
