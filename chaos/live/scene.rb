# frozen_string_literal: true

require "logger"
require "set"
require_relative "../../lib/redis_ipc"
require_relative "books"
require_relative "publisher"

module Chaos
  module Live
    # A stage while it is used: a publisher, and a consumer of what it publishes. Both are in this process, so that it
    # is known of each message whether it is missing.
    class Scene < Chaos::Scene
      # Seconds until the consumer must have what was published last.
      PATIENCE = 20
      # How long one message is waited for, in seconds. It may be published while nobody is subscribed.
      AWAITED = 0.5
      # After so many PINGs it is certain that the consumer knows all that was published before.
      BEATS = 3

      # @return [Array<Outcome>]
      attr_reader :outcomes
      # @return [#rand] what decides how long a fault takes
      attr_writer :random

      def start
        @random = Random
        @place = fault.stage.place.call
        @source = fault.stage.source.new(place, bytes: fault.stage.bytes)
        @books = Books.new(@source)
        @consumer = consume
        @publisher = Publisher.new(@source, pace: fault.stage.pace)
      end

      def happen
        @outcomes = Array.new(fault.times) { once(fault) } + Array.new(fault.calm) { once(fault, calm: true) }
      end

      # Lets a fault happen once, under load or while nothing is published.
      # @return [Outcome]
      def once(fault, calm: false)
        subscribed = place.servers.select { |one| subscribes?(one) } if calm
        calm ? await_beats(subscribed) : begin_load
        before = @consumer.stats[:reconnections]
        @over = nil
        instance_exec(&fault.action)
        over!
        calm ? end_calm(subscribed) : end_load
        gap = @books.gap
        await_last
        Outcome.new(calm: calm, gap: gap, back: (back unless calm), **@books.conclude(published),
                    reconnections: @consumer.stats[:reconnections] - before)
      end

      def finish; end

      def stop
        @publisher&.stop
        @consumer&.stop
        super
      end

      # Returns a number of a range.
      def some(range)
        @random.rand(range)
      end

      # Closes the connections that subscribe at some servers.
      def close_subscriptions(servers = [server])
        servers.each { |one| one.client.call("CLIENT", "KILL", "TYPE", "pubsub") }
      end

      # Resets what the server counts. Returns how long that took, which is all that tells one reset from another.
      def reset_counters
        redis "CONFIG", "RESETSTAT"
        server.client.info("commandstats").fetch("config|resetstat").fetch("usec")
      end

      # Returns how long a reset takes most often.
      def usual_reset
        Array.new(100) { reset_counters }.tally.max_by(&:last).first
      end

      # Resets until one takes as long as this.
      def reset_counters_in(time)
        Chaos.eventually(every: 0) { reset_counters == time }
      end

      # Lets the proxy misbehave for some seconds.
      def misbehave(seconds, *mode)
        place.proxy.behave(*mode)
        stand seconds
        yield if block_given?
      ensure
        place.proxy.behave(:pass)
      end

      # Lets each handler take some seconds while the block runs.
      def slow_down(seconds)
        @brake = seconds
        yield
      ensure
        @brake = nil
      end

      # Returns how many connections subscribe to the channel at a server.
      def subscribers(server)
        server.client.call("PUBSUB", "NUMSUB", Source::NAME).last
      end

      # Waits until the sentinel names another master than this one.
      def await_master_after(old)
        Chaos.eventually(timeout: 60) { ![nil, old].include?(place.master_port) }
        @publisher.reconnect
      end

      # Returns the servers that a sentinel watches: the master, and its replica.
      def watched_servers
        port = Chaos.eventually(timeout: 30) { place.master_port }
        [server, place.replica].partition { |one| one.port == port }.flatten
      end

      # Tells the sentinel to fail over. It does not before it knows that the replica is in step.
      def fail_over?
        place.sentinel.call("SENTINEL", "FAILOVER", "chaos") == "OK"
      rescue Redis::CommandError
        false
      end

      # Whether a sentinel knows that a replica is well.
      def settled?(replica)
        replica.values_at("flags", "master-link-status") == %w[slave ok]
      end

      # Whether a server follows another one, and has what that one has.
      def replica?(server)
        server.client.info("replication").values_at("role", "master_link_status") == %w[slave up]
      end

      # Kills a server that a sentinel watches. When another one is the master, it comes back as its replica.
      def lose_master
        master, other = watched_servers
        master.kill
        await_master_after(master.port)
        yield
        await_failover
        master.configure(replicaof: ["127.0.0.1", other.port])
        master.start
        await_replica
      end

      # Waits until the sentinel has done with a failover. If a server came or went before, it would make one after the
      # other the master, and what is published to the wrong one is nobody's loss.
      def await_failover
        Chaos.eventually(timeout: 60) do
          known = Hash[*place.sentinel.call("SENTINEL", "MASTER", "chaos")]
          known["flags"] == "master" && known["port"].to_i == place.master_port
        end
      end

      # Waits until the sentinel knows that there is a replica again.
      def await_replica
        await_failover
        Chaos.eventually(timeout: 60) do
          replicas = place.sentinel.call("SENTINEL", "REPLICAS", "chaos").map { |one| Hash[*one] }
          replicas.all? { |one| settled?(one) } && replica?(watched_servers.last)
        end
      end

      def cluster
        place.cluster
      end

      # Returns the node of the cluster that the consumer of a channel is subscribed at.
      def subscribed_node
        cluster.alive.find { |node| subscribers(node).positive? }
      end

      # Moves the slot of a name to another node of the cluster.
      def move(name, target = (cluster.masters - [cluster.master_of(name)]).min_by { @random.rand })
        cluster.move(name, target)
      end

      # Adds a node to the cluster, and moves the slot of a name there. It keeps another slot when that one moves on: a
      # node without slots would become a replica.
      def enlarge(name)
        node = cluster.join
        move("spare:#{node.port}", node)
        move(name, node)
      end

      # Kills a node of the cluster, and waits until others serve its slots. It comes back as a replica.
      def lose_node(node, name)
        node.kill
        place.await_master_after(node, name)
        yield
        cluster.revive(node)
      end

      # Notes that Redis is back, though there is more to do.
      def over!
        @over ||= Chaos.now
      end

      private

      def consume
        options = { redis_options: { **place.redis_options, read_timeout: 1, connect_timeout: 1 },
                    concurrency: { threads: 2 }, logger: Logger.new(IO::NULL), on_error: ->(_) {} }
        RedisIPC::Events.consume(**@source.words, **options, **fault.stage.words,
                                 on_loss: @books.method(:lost)) do |event|
          @brake&.then { |seconds| sleep seconds }
          @books.handled(@source.number_of(event))
        end
      end

      def begin_load
        @publisher.resume
        stand some(0.05..0.4)
      end

      # Goes on until the consumer is back.
      def end_load
        Chaos.eventually(timeout: PATIENCE) { back }
        stand some(0.05..0.3)
        @publisher.pause
      end

      # Waits until the consumer is back. PINGs that the fault has held up do not count, and come at once.
      def end_calm(servers)
        stand 1
        await_beats(servers)
      end

      # Returns the seconds until something of each line was handled that was published after the fault.
      def back
        new = @books.since(@over).select { |number, _| @publisher.sent_at(number) >= @over }
        firsts = new.group_by { |number, _| number % @source.lines }.values.map { |list| list.map(&:last).min }
        firsts.max - @over if firsts.size == @source.lines
      end

      # Returns what Redis has sent since the last time, and when.
      def published
        @publisher.harvest.to_h { |number| [number, @publisher.gone_at(number)] }
      end

      # Waits until the consumer has been told by servers that all is well.
      def await_beats(servers)
        before = servers.to_h { |one| [one, beats(one)] }
        Chaos.eventually(timeout: PATIENCE) { before.all? { |one, count| beats(one) >= count + BEATS } }
      end

      def subscribes?(server)
        server.client.call("CLIENT", "LIST", "TYPE", "pubsub").include?("id=")
      end

      def beats(server)
        server.client.info("commandstats").dig("ping", "calls").to_i
      end

      # Waits until a message of each line comes that was published after the fault. What was told of those before it
      # is told then.
      def await_last
        Chaos.eventually(timeout: PATIENCE) do
          last = @publisher.last
          deadline = Chaos.now + AWAITED
          sleep 0.005 until (is_there = last&.all? { |number| @books.include?(number) }) || Chaos.now > deadline
          is_there
        end
      end
    end
  end
end
