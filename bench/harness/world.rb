# frozen_string_literal: true

module Bench
  # A peer at work: a Redis server of its own, the answering processes, and the one that asks.
  class World
    # The arguments are settings of bench/player.rb, and
    # - answerers: the number of answering processes
    # - crowd: the number of further groups that are connected and not asked
    # - waiting: the number of requests in the inbox of a group that nobody serves
    # - ask, answer: more settings of the processes
    # @param peer [String]
    def initialize(peer, answerers: 1, crowd: 0, waiting: 0, **players)
      @peer = peer
      @server = RedisServer.new
      place = { port: @server.port }
      Backlog.new(@server).fill("nobody", waiting) if waiting.positive?
      @crowd = Player.new(peer, "answer", place.merge(crowd: crowd)) if crowd.positive?
      @answerers = Array.new(answerers) { Player.new(peer, "answer", place.merge(players.fetch(:answer, {}))) }
      address = @answerers.first.greeting.slice(:address)
      @asker = Player.new(peer, "ask", place.merge(address, players.fetch(:ask, {})))
    end

    # Makes calls and returns the figures: calls/s, latencies, and the costs of a call.
    def measure(load)
      before = costs
      result = @asker.run(load)
      calls = result[:calls].to_f
      spent = costs.to_h { |name, value| [name, (value - before[name]) / calls] }
      { calls_s: calls / result[:seconds] }.merge(result.slice(:p50_us, :p95_us, :p99_us), spent)
    end

    def warm_up(load)
      @asker.run(load)
    end

    def stop
      [@asker, *@answerers, @crowd].compact.each(&:stop)
      @server.stop
    end

    private

    def costs
      costs = { asker_cpu_us: @asker.cpu_us, answerer_cpu_us: @answerers.sum(&:cpu_us) }
      return costs if Cases::WITHOUT_REDIS.include?(@peer)

      costs.merge(commands: @server.commands, redis_cpu_us: Player.cpu_us(@server.pid))
    end
  end
end
