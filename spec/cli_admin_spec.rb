# frozen_string_literal: true

require "net/http"
require "pty"

# The verbs of the command that look at a system from outside and act on it, beside a real server.
RSpec.describe "redis_ipc" do
  include Commands

  around do |example|
    before = ENV.to_h.slice("REDIS_URL", "REDIS_IPC_STREAM")
    ENV.update("REDIS_URL" => RedisServer.shared.url, "REDIS_IPC_STREAM" => "house")
    example.run
  ensure
    ENV.update("REDIS_URL" => nil, "REDIS_IPC_STREAM" => nil, **before)
  end

  # The first table of a text: a row for each line, by the titles.
  def table(text)
    titles, *rows = text.split("\n\n").first.lines.map { |line| line.strip.split(/ {2,}/) }
    rows.map { |row| titles.zip(row).to_h }
  end

  describe "groups, instances, pending and trace" do
    it "show who is there, what waits, who holds the rest, and where one request is" do
      started = Queue.new
      gate = Queue.new
      kitchen = connect("kitchen", consumer: { pool_size: 1 }, &held(started, gate))
      parent = connect("parent")
      calls = Array.new(3) { parent.async_send_to_group(content: "secret", to: "kitchen", timeout: 30) }
      next_of(started)

      told = eventually { (told = said("groups")).out.match?(/kitchen +1 of 1/) && told }
      rows = table(told.out)
      expect(rows.map { |row| row["group"] }).to contain_exactly("house/kitchen", "house/parent")
      expect(rows.first).to include("waiting" => "2", "dead" => "0", "state" => "alive")
      expect(said("groups", "--json").json.first).to include(name: "kitchen", waiting: 2, taken: 1, serving: 1)

      server = RedisIPC::JSONRPC::Server.new("sums", redis_options: redis_options)
      server.on("sum") { 0 }.connect
      rows = table(said("instances", "-q", "sums").out)
      expect(rows.pop).to include("group" => "sums", "state" => "answers")
      expect(rows.map { |row| row["process"] }).to all(end_with("pid #{Process.pid}"))
      expect(rows.map { |row| row["state"] }).to match_array(%w[answers asks])
      expect(said("instances", "kitchen", "-j").json).to contain_exactly(include(id: kitchen.instance_id, lease: 2.0))
      expect(said("instances", "--long").out.lines.size).to be >= 3

      told = said("pending", "kitchen")
      expect(told.out).not_to include("secret")
      rows = table(told.out)
      expect(rows.map { |row| row["state"] }).to eq(%w[taken waiting waiting])
      expect(rows.first).to include("from" => "parent", "delivery" => "1", "held by" => /pid #{Process.pid}\z/)
      expect(said("pending", "kitchen", "-n", "1", "--json").json.size).to eq(1)

      told = said("trace", rows.first["request"])
      where = /from parent to kitchen: was taken, delivery 1; sent .* ago, and .* are left$/
      expect([told.status, told.out]).to match([0, where])
      expect(told.out).to match(/^(held by|runs in) .*pid #{Process.pid} \(#{kitchen.instance_id}\)/)
      expect(said("trace", "nothing").to_a).to eq([1, "there is no trace of nothing on house\n", ""])
      3.times { gate << nil }
      calls.each(&:value)
      expect(said("pending", "kitchen").out).to eq("nothing waits for house/kitchen\n")
    ensure
      server&.disconnect
    end
  end

  describe "groups and instances" do
    include Records

    it "show what is asked and was never joined, who is silent, and how old figures are" do
      show("house", "kitchen", "k")
      redis.zrange("house:instances", 0, -1).each { |row| redis.zadd("house:instances", now_ms - 25_000, row) }
      write_record("house", "kitchen", "k", written: now_ms - 45_000, outcomes: { chidl: { unclaimed: 3 }, "*": {} })
      rows = table(said("groups").out)
      expect(rows.to_h { |row| row.values_at("group", "state") })
        .to match("house/kitchen" => /\Afigures 45(\.\d+)? s old\z/, "house/chidl" => "never joined")
      expect(said("top", "--once").out).to match(%r{^house/kitchen \(figures 45})
      expect(table(said("instances").out).first["state"]).to match(/\Asilent for 25(\.\d+)? s\z/)
    end
  end

  describe "dead list, show, retry and discard" do
    # Adds letters to the dead letters of the kitchen, as a request in which its fields are missing.
    def add_letters(count)
      stream = connect("kitchen") { |entry| fulfill_request(entry, content: 1) }
      count.times { |number| redis.xadd("house:inbox:kitchen", { "note" => number }) }
      eventually { redis.xlen("house:dead:kitchen") == count }
      stream
    end

    it "work for groups of request/reply, one by one and all" do
      add_letters(5)
      rows = table(said("dead", "list", "kitchen").out)
      expect(rows.map { |row| row["reason"] }).to all(start_with("the entry is not a request of this protocol"))
      ids = rows.map { |row| row["letter"] }
      expect(ids).to eq(redis.xrevrange("house:dead:kitchen").map(&:first))
      expect(said("dead", "list", "kitchen", "-m", "no such text").out).to start_with("there are no dead letters of ")
      expect(said("dead", "show", "kitchen",
                  ids.first).out).to match(/^group +kitchen$/).and match(/^reason +the entry/)
      told = said("dead", "show", "kitchen", ids.first, "--content", "-j")
      expect(told.json).to include(id: ids.first, content: nil)
      expect(said("dead", "show", "kitchen", ids.first).out).to match(/^content +--content prints what was sent$/)
      expect(said("dead", "show", "kitchen", "1-1").status).to eq(1)
      expect(said("dead", "list", "kitchen", "-n", "4").err).to include("there are more")
      expect(said("dead", "list", "kitchen", "-n", "5").err).to eq("")
      other = redis.xadd("house:dead:kitchen", { "dead_id" => "1795851827288-7", "dead_reason" => "no", "id" => "9b1d",
                                                 "dead_deliveries" => 1,
                                                 "destination_group" => "kitchen", "content" => "past\xE4 \e[J" })
      %w[1795851827288-7 9b1d].each do |id|
        expect(said("dead", "show", "kitchen", id, "-c").out)
          .to match(/^id +#{other}$/).and include('not JSON: "past\xE4 \e[J"')
      end
      expect(said("dead", "show", "kitchen", other, "-c", "-j").json).to include(content: nil, not_json: /past/)
      expect(said("trace", "9b1d").out).to end_with("after 1 delivery: no\n")
      expect(said("dead", "discard", "kitchen", other).status).to eq(0)
      expect(said("dead", "retry", "kitchen", ids.first).to_a)
        .to match([1, "", /\Aredis_ipc: the dead letter is not a request/])
      expect(said("dead", "discard", "kitchen", ids.first, "1-1").to_a)
        .to match([1, "discarded 1 dead letter of house/kitchen\n", /no dead letter 1-1/])
      expect(said("dead", "discard", "kitchen", "--all").out)
        .to eq("4 dead letters of house/kitchen would be discarded; --yes does it\n")
      expect(said("dead", "retry", "kitchen", "--all", "--yes", "--json").json).to eq(done: 0)
      expect(said("dead", "discard", "kitchen", "--all", "--yes").to_a)
        .to eq([0, "discarded 4 dead letters of house/kitchen\n", ""])
      expect(redis.xlen("house:dead:kitchen")).to eq(0)
      expect(said("dead", "discard", "kitchen").status).to eq(2)
    end

    it "print also what is no text or no number" do
      redis.xadd("house:dead:kitchen", { dead_reason: "\xFFodd".b, destination_group: "kitchen",
                                         content: '{"a":1e999}' })
      redis.xgroup(:create, "house:inbox:kitchen", "kitchen", "0", mkstream: true)
      redis.xadd("house:inbox:kitchen", { id: "\xFF".b, source_group: "\xFF".b, ttl: "9" * 400, content: "1" })
      expect(said("dead", "list", "kitchen").out).to include("odd")
      id, reason = said("dead", "list", "kitchen", "-j").json.first.values_at(:id, :reason)
      expect(reason).to eq("\uFFFDodd")
      expect(said("dead", "show", "kitchen", id, "-c", "-j").json).to include(content: { a: nil })
      expect(said("pending", "kitchen").status).to eq(0)
      expect(said("pending", "kitchen", "-j").json.first).to include(from: "\uFFFD", expires_in: nil)
    end

    it "leave out, of all, the marks of requests that may still be answered" do
      call = connect("parent").async_send_to_group(content: 1, to: "kitchen", timeout: 30)
      id = eventually { redis.xrange("house:inbox:kitchen").first&.first }
      redis.xadd("house:dead:kitchen", { "dead_id" => id, "dead_reason" => "may crash", "dead_deliveries" => 2,
                                         "dead_at" => 1, "dead_holders" => "[]", "dead_suspect" => 1 })
      expect(said("dead", "list", "kitchen").out).to include("may crash")
      expect(said("dead", "discard", "kitchen", "--all", "--yes", "-j").json).to eq(done: 0)
      connect("kitchen", &echo)
      expect(call.value).to eq(1)
      eventually { redis.xlen("house:inbox:kitchen").zero? }
      expect(said("dead", "discard", "kitchen", "--all", "--yes", "-j").json).to eq(done: 1)
    end

    it "work for events and their groups, as events status, lag, checkpoint, losses and pending do" do
      fails = true
      handled = Queue.new
      consume_orders = RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning, attempts: 1,
                                                on_error: proc {}, redis_options: redis_options) do |event|
        raise IOError, "no money" if fails

        handled << event.data
      end
      2.times { |number| RedisIPC::Events.publish("orders", { n: number }, key: 7, redis_options: redis_options) }
      eventually { redis.xlen("orders:dead:billing") == 2 }
      told = eventually { (told = said("events", "status", "orders")).out.match?(/billing .* 2 /) && told }
      expect(table(told.out)).to contain_exactly(include("group" => "orders/billing", "source" => "stream",
                                                         "processes" => "1", "dead" => "2", "losses" => "0"))
      told = said("events", "dead", "orders", "-j")
      expect([told.status, told.json.map { |one| one[:reason] }]).to eq([1, ["IOError: no money"] * 2])
      told = said("events", "lag", "orders", "--max", "0", "--max-age", "60")
      expect(told.to_a).to match([0, /orders.billing +0 /, ""])
      expect(said("events", "losses", "orders").to_a).to eq([0, "no loss is known\n", ""])
      expect(said("events", "pending", "orders").out).to eq("no handler runs\n")
      expect(said("events", "checkpoint", "orders", "none").status).to eq(1)
      fails = false
      expect(said("dead", "retry", "billing", "--events", "orders", "--all", "--match", "money", "-y").out)
        .to eq("retried 2 dead letters of orders/billing\n")
      expect([next_of(handled), next_of(handled)]).to contain_exactly({ "n" => 0 }, { "n" => 1 })
      expect(said("events", "dead", "orders").to_a).to eq([0, "no event was given up on\n", ""])
      expect(said("events", "checkpoint", "orders", "billing", "--seek", "beginning").status).to eq(2)
      expect(said("events", "checkpoint", "orders", "billing", "--seek", "beginning", "--yes").status).to eq(0)
      # This ends the read that was under way.
      RedisIPC::Events.publish("orders", { n: 2 }, redis_options: redis_options)
      expect(Array.new(3) { next_of(handled)["n"] }).to match_array([0, 1, 2])
      expect(said("events", "checkpoint", "orders", "billing", "--seek", "soon").err).to include("is no position")
    ensure
      consume_orders&.stop
    end
  end

  it "obeys no name and no record that somebody else has written" do
    obeyed = "\e[2Jx"
    later = (Time.now.to_i + 60) * 1_000
    redis.xgroup(:create, "orders", obeyed, "0", mkstream: true)
    redis.hset("orders:events:#{obeyed}", "lanes", "1", "o:0", "#{obeyed} 1 #{later}", "i:#{obeyed}", "#{later} 1")
    redis.zadd("orders:stats", later, "billing:a")
    redis.set("orders:stats:billing:a",
              JSON.generate(kind: "events", written: later, events: { source: "keys", checkpoint: obeyed }))
    redis.zadd("house:instances", later, "kitchen:#{obeyed}:web-7:5")
    told = [said("events", "status", "orders", "--long"), said("events", "checkpoint", "orders", "billing"),
            said("pause", "kitchen", "--instance", "\e")].map(&:out)
    expect(told).to all(include("\\e[2Jx").and(not_include("\e")))
  end

  RSpec::Matchers.define_negated_matcher :not_include, :include

  describe "pause and resume" do
    it "tell a group or an instance to take nothing new" do
      kitchen = connect("kitchen", &echo)
      expect(said("pause", "kitchen", "--by", "ann").out).to eq("house/kitchen takes nothing new, within ten seconds\n")
      expect(said("pause", "kitchen").out).to eq("house/kitchen was paused before\n")
      expect(table(said("groups").out).first).to include("state" => "paused by ann")
      expect(said("resume", "kitchen").to_a).to eq([0, "house/kitchen goes on\n", ""])
      expect(said("resume", "kitchen").to_a).to eq([1, "house/kitchen was not paused\n", ""])
      id = kitchen.instance_id
      expect(said("pause", "kitchen", "--instance", id[0, 8]).out).to start_with("#{id} takes nothing new")
      expect(said("groups", "--json").json.first).to include(quiet: [id], paused: false)
      expect(said("resume", "kitchen", "--instance", id).status).to eq(0)
      expect(said("pause", "kitchen", "-i", "x").to_a).to match([1, "", /no instance of house.kitchen has an id/])
    end
  end

  describe "doctor" do
    it "has status 1 with a warning, 0 without, and the statuses of a Redis that is away or refuses" do
      expect(said("doctor").to_a).to match([0, %r{nothing is wrong with house on redis://.*\nPostgreSQL was not}, ""])
      expect(said("doctor", "--quiet").to_a).to eq([0, "", ""])
      connect("kitchen", &echo)
      redis.xadd("house:inbox:kitchen", { "note" => 1 })
      eventually { redis.xlen("house:dead:kitchen") == 1 }
      told = said("doctor")
      expect([told.status, told.out]).to match([1, /^warning  house.kitchen: .*dead letter.*\n {9}\S/])
      expect(said("doctor", "--json").json).to include(include(level: "warning", subject: "house/kitchen"))
      told = said("doctor", "--redis", "redis://127.0.0.1:#{RedisServer.free_port}", "--json")
      expect([told.status, told.json]).to match([6, include(status: 6)])
    end

    it "looks for streams where none is named" do
      ENV.delete("REDIS_IPC_STREAM")
      expect(said("doctor").to_a).to match([2, "", /\Aredis_ipc: nobody is alive on any stream of redis:.*--stream/])
      connect("kitchen", stream: "garden", &echo)
      expect(said("groups").out).to match(%r{^garden/kitchen })
      expect(said("pending", "kitchen").to_a).to match([2, "", /\Aredis_ipc: name the stream/])
    end
  end

  describe "tap" do
    it "shows requests as they come, takes none, and prints contents only with --content" do
      processes = [["--json"], ["--content", "--count", "3"]].map do |options|
        # Nobody takes these requests, so none can be missed.
        command("tap", "kitchen", *options)
      end
      eventually { redis.client(:list).count { |client| client["cmd"] == "xread" } == 2 }
      parent = connect("parent")
      calls = [7, { event: "cook", params: {} }].map do |content|
        parent.async_send_to_group(content: content, to: "kitchen", timeout: 20)
      end
      first, second = Array.new(2) { JSON.parse(processes.first.line) }
      expect(first).to include("from" => "parent", "group" => "kitchen", "expires_in" => be_within(5).of(20))
      redis.xadd("house:inbox:kitchen", { source_group: "menu", id: "1", content: "pasta" })
      expect([first["content"], second["content"], second["id"]]).to match([nil, nil, /\A\h{32}\z/])
      lines = / parent \h{32} \d+-\d+: 7\n.* parent cook .*: {"event":"cook","params":{}}\n.* menu 1 .*: not JSON: "p/
      expect(processes.last.rest).to match(lines)
      expect(processes.last.wait.exitstatus).to eq(0)
      processes.first.kill(:INT)
      expect(processes.first.wait.exitstatus).to eq(0)
      expect(redis.xinfo(:groups, "house:inbox:kitchen").sum { |group| group["pending"] }).to eq(0)
      connect("kitchen", &echo)
      expect(calls.map { |call| call.response.fulfilled? }).to eq([true, true])
    end
  end

  describe "acl check" do
    it "says which rules a user lacks" do
      rules = RedisIPC::ACL.rules(:observer, stream: "house")
      redis.call("ACL", "SETUSER", "watcher", "on", "nopass", *rules)
      expect(said("acl", "check", "observer", "-s", "house", "--user", "watcher").to_a)
        .to eq([0, "watcher lacks nothing for the role observer\n", ""])
      redis.call("ACL", "SETUSER", "watcher", "reset", "on", "nopass", *rules.grep_v(/dead/))
      told = said("acl", "check", "observer", "-s", "house", "--user", "watcher")
      expect([told.status, told.out]).to match([1, /^(error|warning) .*XRANGE.*house:dead/m])
      expect(said("acl", "check", "observer", "-s", "house", "-u", "watcher", "-j").json).not_to be_empty
      watcher = "redis://watcher:x@127.0.0.1:#{RedisServer.shared.port}"
      expect(said("acl", "check", "observer", "-s", "house", "--redis", watcher).status).to eq(7)
      expect(said("acl", "check", "asker", "-s", "house").err).to start_with("redis_ipc: asker: missing --group, --to")
    ensure
      redis.call("ACL", "DELUSER", "watcher")
    end
  end

  describe "keys" do
    it "lists keys that nobody owns, and deletes them only with --clean --yes" do
      redis.xadd("house:replies:gone:0123456789abcdef0123456789abcdef", { "a" => 1 })
      list = "house:replies:gone:0123456789abcdef0123456789abcdef\n"
      expect(said("keys").to_a).to match([1, list, /--clean --yes/])
      expect(said("keys", "--clean").to_a).to match([1, list, /--clean --yes/])
      expect(said("keys", "--clean", "--yes").to_a).to match([0, list, /1 key deleted/])
      expect(said("keys").to_a).to eq([0, "every key of house has an owner\n", ""])
    end
  end

  describe "top" do
    it "prints a page once where there is no terminal" do
      connect("kitchen", &echo)
      told = said("top", "--queue", "sums", "--events", "orders")
      expect([told.status, told.err]).to eq([0, ""])
      expect(told.out).to match(/\Aredis_ipc #{RedisIPC::VERSION}  .*  redis:.*\n\nnothing is wrong\n\ngroup +answer /)
      expect(told.out).to match(/^server +role /)
      expect(said("top", "--json").json).to include(:findings, :nodes, groups: [include(name: "kitchen")])
    end

    it "draws a page that fits the terminal, and ends on q" do
      connect("kitchen-of-the-king", &echo)
      PTY.spawn(RbConfig.ruby, "-I#{Processes::LIBRARY}", Commands::EXECUTABLE, "top") do |output, input, pid|
        output.winsize = [24, 80]
        text = +""
        text << output.readpartial(4096) until text.include?("\e[J")
        input.write("x")
        text << output.readpartial(4096) until text.scan("\e[J").size > 1
        input.write("q")
        text << output.readpartial(4096) until text.include?("\e[?1049l")
        expect(Process.wait2(pid).last.exitstatus).to eq(0)
        expect(text).to include("\e[1mgroup", "house/kitchen-of-the-king")
        plain = text.gsub(/\e\[[\d;?]*[A-Za-z]/, "")
        expect(plain.lines.map { |line| line.chomp.size }).to all(be <= 80)
      end
    end
  end

  describe "web" do
    it "serves the page until it is interrupted" do
      process = command("web", "--port", "0", "--stream", "house")
      address = process.line[%r{\Aredis_ipc shows the page at (http://127\.0\.0\.1:\d+\S*)\z}, 1]
      page = Net::HTTP.get_response(URI(address))
      expect([page.code, page.body]).to match(["200", /house/])
      process.kill(:INT)
      process.rest
      expect(process.wait.exitstatus).to eq(0)
    end
  end

  describe "--watch" do
    it "looks again until it is interrupted, also while Redis is away" do
      server = start_server
      expect(RedisIPC::CLI::CommandLine.read(RedisIPC::CLI::Verbs::Groups, ["--watch"])).to include(watch: true)
      process = command("groups", "--watch=0.1", "--json", redis_url: server.url)
      expect([process.line, process.line]).to eq(["[]", "[]"])
      server.kill
      process.line until process.line.start_with?("redis_ipc: ")
      server.start
      process.line until process.line == "[]"
      process.kill(:INT)
      process.rest
      expect(process.wait.exitstatus).to eq(0)
    end
  end
end
