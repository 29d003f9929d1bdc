# frozen_string_literal: true

require "etc"

RSpec.describe "an idle process" do
  it "makes at most 2 Redis commands a second, and uses next to no CPU" do
    server = start_server
    process = answering_process("child", redis_url: server.url)
    eventually { (server.client.client("list").map { |client| client["cmd"] } & %w[xread xreadgroup]).size == 2 }
    before = commands(server)
    cpu_before = cpu_seconds(process.pid)
    # The promise is about a period of time, so the example must wait for it to pass.
    sleep 20
    made = commands(server) - before
    expect(made).to be_between(1, 40)
    expect(cpu_seconds(process.pid) - cpu_before).to be <= 0.05
  end

  # Returns the number of commands that clients sent. INFO itself is not counted.
  def commands(server)
    server.client.info("commandstats").sum { |name, stats| name == "info" ? 0 : stats["calls"].to_i }
  end

  def cpu_seconds(pid)
    user, system = File.read("/proc/#{pid}/stat").split(") ").last.split.values_at(11, 12)
    (user.to_i + system.to_i) / Etc.sysconf(Etc::SC_CLK_TCK).to_f
  end
end
