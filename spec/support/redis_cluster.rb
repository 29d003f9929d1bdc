# frozen_string_literal: true

# A Redis Cluster that belongs to the suite, on free ports: by default three masters with a replica each.
class RedisCluster
  SLOTS = 16_384
  # A node that is silent for this many ms is replaced.
  NODE_TIMEOUT = 1_000

  attr_reader :nodes

  def initialize(masters: 3, replicas: masters, **settings)
    @settings = { cluster_enabled: "yes", cluster_node_timeout: NODE_TIMEOUT, cluster_replica_validity_factor: 0,
                  cluster_require_full_coverage: "no", repl_ping_replica_period: 1, repl_diskless_sync_delay: 0,
                  **settings }
    @lost = []
    @nodes = []
    start_nodes(masters + replicas)
    first = @nodes.first(masters)
    divide_slots(first)
    @nodes.drop(1).each { |node| meet(node) }
    wait { @nodes.all? { |node| known(node).size == @nodes.size } }
    @nodes.drop(masters).each_with_index do |replica, index|
      replica.client.call("CLUSTER", "REPLICATE", id(first[index]))
    end
    @replicas = replicas
    wait { @nodes.all? { |node| healthy?(node) } }
  rescue StandardError
    stop
    raise
  end

  def seeds
    nodes.map { |node| "redis://127.0.0.1:#{node.port}" }
  end

  def options
    { cluster: seeds }
  end

  # Returns the node that serves `key`, according to most nodes.
  def master_of(key)
    slot = slot_of(key)
    port = alive.map { |node| owner(node, slot) }.compact.tally.max_by(&:last)&.first
    nodes.find { |node| node.port == port }
  end

  def replica_of(master)
    role = ["slave", master.port.to_s]
    alive.find { |node| node.client.info("replication").values_at("role", "master_port") == role }
  end

  def masters
    alive.select { |node| node.client.info("replication")["role"] == "master" }
  end

  def slot_of(key)
    alive.first.client.call("CLUSTER", "KEYSLOT", key)
  end

  # Returns a name whose key (made by the block) is served by `node`. The node must be a master, or the search would not
  # end.
  def name_on(node, prefix = "group")
    raise ArgumentError, "the node at port #{node.port} is not a master" unless masters.include?(node)

    (1..).lazy.map { |number| "#{prefix}#{number}" }.find { |name| master_of(yield(name)) == node }
  end

  # Announces that the slot of `key` moves. Keys that are already gone from the source are looked up at `target`.
  def begin_move(key, target)
    source = master_of(key)
    slot = slot_of(key)
    target.client.call("CLUSTER", "SETSLOT", slot, "IMPORTING", id(source))
    source.client.call("CLUSTER", "SETSLOT", slot, "MIGRATING", id(target))
    [source, slot]
  end

  def migrate_keys(source, slot, target)
    until (keys = source.client.call("CLUSTER", "GETKEYSINSLOT", slot, 10)).empty?
      keys.each { |key| source.client.call("MIGRATE", "127.0.0.1", target.port, key, 0, 5_000) }
    end
  end

  def end_move(slot, target)
    # The target comes first: it must know before the source forgets.
    [target, *(masters - [target])].each { |node| node.client.call("CLUSTER", "SETSLOT", slot, "NODE", id(target)) }
  end

  def move(key, target)
    source, slot = begin_move(key, target)
    migrate_keys(source, slot, target)
    yield if block_given?
    migrate_keys(source, slot, target)
    end_move(slot, target)
  end

  def keys
    masters.flat_map { |node| node.client.keys }
  end

  def flush
    masters.each { |node| node.client.flushall }
  end

  def stop
    nodes.each(&:stop)
  end

  # Kills the node that serves `key`, and returns its replica.
  def kill_master_of(key)
    master = master_of(key)
    replica = replica_of(master)
    without(master)
    master.kill
    replica
  end

  # Stops asking this node, because it is killed or hangs.
  def without(node)
    @lost << node
  end

  def alive
    nodes - @lost
  end

  # Lets a replica take the place of the node that serves `key`, which goes on answering. A replica that has not heard
  # of the epochs of all others claims its slots with one that is too low, so it is told again.
  def take_over(key)
    replica = replica_of(master_of(key))
    wait do
      master_of(key) == replica || !replica.client.call("CLUSTER", "FAILOVER", "TAKEOVER")
    rescue Redis::CommandError
      # It is a master by now.
      false
    end
  end

  # Starts a node that was killed. Returns when all agree on who serves what.
  def revive(node)
    node.start
    @lost.delete(node)
    wait { @nodes.all? { |one| healthy?(one) } }
  end

  # Adds a node that serves nothing.
  def join
    start_nodes(1)
    meet(@nodes.last)
    wait { @nodes.all? { |node| known(node).size == @nodes.size && healthy?(node) } }
    @nodes.last
  end

  private

  def start_nodes(count)
    count.times { @nodes << RedisServer.new(cluster_port: RedisServer.free_port, **@settings) }
  end

  def divide_slots(masters)
    size = SLOTS.fdiv(masters.size)
    masters.each_with_index do |master, index|
      range = [(size * index).round, (size * (index + 1)).round - 1]
      master.client.call("CLUSTER", "ADDSLOTSRANGE", *range)
      master.client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    end
  end

  def meet(node)
    bus = @nodes.first.client.call("CONFIG", "GET", "cluster-port").last
    node.client.call("CLUSTER", "MEET", "127.0.0.1", @nodes.first.port, bus)
  end

  def id(node)
    node.client.call("CLUSTER", "MYID")
  end

  def known(node)
    node.client.call("CLUSTER", "NODES").lines.reject { |line| line.include?("handshake") }
  end

  def owner(node, slot)
    range = node.client.call("CLUSTER", "SLOTS").find { |first, last| slot.between?(first, last) }
    range && range[2][1]
  end

  def healthy?(node)
    info = node.client.call("CLUSTER", "INFO")
    return false unless info.include?("cluster_state:ok") && info.include?("cluster_slots_assigned:16384")

    replicas = node.client.call("CLUSTER", "SLOTS").flat_map { |range| range.drop(3).map { |server| server[1] } }
    return false unless replicas.uniq.size == @replicas

    replication = node.client.info("replication")
    replication["role"] == "master" || replication["master_link_status"] == "up"
  end

  def wait
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 30
    until yield
      raise "the cluster did not form within 30 s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

      sleep 0.02
    end
  end
end
