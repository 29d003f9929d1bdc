# frozen_string_literal: true

# Measures how fast changes get from PostgreSQL's log into a Redis Stream, on servers of its own:
# `ruby bench/forward.rb [rows]`. The rows have about 200 bytes; half of them are one transaction, the others are
# transactions of 1,000. They are in the log when it starts, and it ends when Redis has acknowledged the last one.
root = File.expand_path("..", __dir__)
$LOAD_PATH.unshift(File.join(root, "lib"))
require "redis_ipc"
require "redis"
require "rspec/core"
%w[databases redis_server].each { |name| require File.join(root, "spec/support", name) }
abort(Databases::Cluster.missing) if Databases::Cluster.missing
require "pg"

ROWS = Integer(ARGV.fetch(0, 200_000))
RULES = {
  "one stream" => { to: "orders" }, "16 partitions" => { to: "orders", partitions: 16 },
  "maxlen: 10,000" => { to: "orders", maxlen: 10_000, unread: :drop },
  "key: a callable" => { to: "orders", key: ->(event) { event["customer"] } }
}.freeze
POSTGRES = Databases::Cluster.new({ "wal_level" => "logical", "max_wal_size" => "4GB" })
REDIS = RedisServer.new

def insert(first, count)
  POSTGRES.query("INSERT INTO orders SELECT g, g % 1000, repeat('x', 180) FROM generate_series(#{first}, " \
                 "#{first + count - 1}) g")
end

# Returns the clocks of real time and of this process's processor time.
def clocks
  [Process::CLOCK_MONOTONIC, Process::CLOCK_PROCESS_CPUTIME_ID].map { |clock| Process.clock_gettime(clock) }
end

def forward(rule)
  before = clocks
  wal = { host: POSTGRES.folder, user: "spec", dbname: "postgres" }
  consumer = RedisIPC::Events.consume(wal: wal, slot: "ipc", forward: rule, redis_options: { path: REDIS.path })
  sleep(0.005) until consumer.stats[:done] == ROWS
  clocks.zip(before).map { |now, then_| now - then_ }
ensure
  consumer&.stop
end

begin
  POSTGRES.query("CREATE TABLE orders (id bigint PRIMARY KEY, customer int, body text); " \
                 "CREATE PUBLICATION ipc FOR TABLE orders")
  RULES.each do |name, rule|
    POSTGRES.query("TRUNCATE orders")
    POSTGRES.query("SELECT pg_create_logical_replication_slot('ipc', 'pgoutput')")
    insert(1, ROWS / 2)
    ((ROWS / 2) + 1).step(ROWS, 1000) { |first| insert(first, 1000) }
    REDIS.flush
    seconds, processor = forward(rule)
    puts "#{name}: #{(ROWS / seconds).round} rows/s, #{(processor * 1e6 / ROWS).round(1)} us of processor time per row"
    POSTGRES.query("SELECT pg_drop_replication_slot('ipc')")
  end
ensure
  POSTGRES.stop
  REDIS.stop
end
