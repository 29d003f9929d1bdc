# frozen_string_literal: true

module Bench
  # A peer at work: a Redis server of its own, the processes that answer and the one that asks.
  class World
    # What it is made of: settings of bench/player.rb, and
    # - answerers: how many processes answer
    # - crowd: how many more groups are connected, whom nobody asks
    # - waiting: how many requests wait in the inbox of a group that nobody serves
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

    # Makes calls and returns the figures: calls/s, latencies, and what a call costs.
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
