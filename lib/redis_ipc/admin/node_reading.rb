# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads what the servers of Redis say about themselves.
    # @api private
    class NodeReading
      # How clients of this gem name their connections.
      NAMED = /\bname=redis_ipc(?:\S*:(\w+))?(?:\s|\z)/
      OBSERVER = /\bname=redis_ipc:observer:/
      private_constant :NAMED, :OBSERVER

      # Finds the nodes, and asks each for the time alone, so that it tells how long an answer takes.
      # @param link [Link]
      # @raise [ConnectionError] if Redis cannot be reached
      def initialize(link)
        @link = link
        @nodes = link.call(:nodes)
        @clocks = @nodes.map { |node| clock(node) }
      end

      # @param questions [Rounds::Questions]
      # @return [Array<Node>]
      def call(questions)
        queries = @nodes.flat_map { |node| [[:info, node], [:settings, node], [:clients, node], [:user, node]] }
        answers = questions.try(queries).each_slice(4)
        @nodes.zip(@clocks, answers).map { |node, clock, answer| node(node, clock, answer) }
      end

      private

      def clock(node)
        address, now, took = @link.call(:clock_of, node)
        [address, took, (now / 1_000.0) + (took / 2) - Time.now.to_f]
      rescue CallError
        nil
      end

      def node(name, clock, (info, settings, clients, user))
        info = info ? parse(info) : {}
        settings = settings ? settings.each_slice(2).to_h : {}
        address, latency, offset = clock
        Node.new(address: address || name, latency: latency, clock_offset: offset, user: user,
                 connections: clients && connections(clients), policy: info["maxmemory_policy"],
                 notifications: settings["notify-keyspace-events"], role: info["role"], server: server(info),
                 version: info["valkey_version"] || info["redis_version"], loading: flag(info["loading"]),
                 **counts(info))
      end

      def counts(info)
        { uptime: "uptime_in_seconds", used_memory: "used_memory", maxmemory: "maxmemory",
          clients: "connected_clients", max_clients: "maxclients", ops: "instantaneous_ops_per_sec",
          evicted: "evicted_keys", replicas: "connected_slaves" }
          .transform_values { |name| Integer(info[name], 10, exception: false) if info[name] }
      end

      def server(info)
        info["server_name"] || (info.key?("valkey_version") ? "valkey" : "redis") if info.any?
      end

      def flag(text)
        text == "1" if text
      end

      def parse(info)
        info.each_line(chomp: true).filter_map do |line|
          name, value = line.split(":", 2)
          [name, value] if value
        end.to_h
      end

      # The last part of a connection's name says what it is for.
      def connections(clients)
        roles = clients.each_line.filter_map do |line|
          next "observer" if line.match?(OBSERVER)

          named = line.match(NAMED)
          named[1] || "redis_ipc" if named
        end
        roles.tally.freeze
      end
    end
    private_constant :NodeReading
  end
end
