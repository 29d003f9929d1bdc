# frozen_string_literal: true

require "json"
require "open3"

# The alert rules and the board that docs/operating.md offers name metrics that exist, and the page explains them all.
RSpec.describe "docs/operating.md" do
  docs = File.expand_path("../docs", __dir__)
  page = File.read(File.join(docs, "operating.md"))
  metrics = RedisIPC::Metrics.const_get(:Catalog)::METRICS.map { |name, (type)| [name, type] }
  metrics += RedisIPC::Metrics.const_get(:Groups)::METRICS.keys.map { |name| [name, :gauge] }
  metrics += RedisIPC::Metrics.const_get(:Catalog)::DURATIONS.values.map { |name, _| [name, :histogram] }
  names = metrics.map { |name, type| type == :counter ? "#{name}_total" : name } + ["redis_ipc_build_info"]

  def named_in(text)
    text.scan(/\bredis_ipc_[a-z_]+/).map { |name| name.sub(/_seconds_(bucket|sum|count)\z/, "_seconds") }.uniq
  end

  it "explains every metric" do
    # `redis_ipc_requests_taken_total`, `_redelivered_total` names two of them.
    rows = page.lines.grep(/^\| `redis_ipc_/).map { |line| line.split("|")[1].scan(/`([a-z_]+)[`{]/).flatten }
    explained = rows.flat_map do |first, *others|
      [first, *others.map { |name| name.start_with?("_") ? "#{first[/\Aredis_ipc_[a-z]+/]}#{name}" : name }]
    end
    expect(explained).to match_array(names)
  end

  it "offers a board of metrics that exist" do
    board = File.read(File.join(docs, "grafana.json"))
    expect(JSON.parse(board).fetch("panels").size).to be > 10
    expect(named_in(board) - names - ["redis_ipc"]).to eq([])
  end

  it "offers alert rules for metrics that exist, each with a section that says what to do" do
    rules = File.read(File.join(docs, "alerts.yml"))
    expect(named_in(rules) - names).to eq([])
    headings = page.scan(/^#+ (.+)$/).flatten.map { |text| text.downcase.delete("^a-z0-9 -").tr(" ", "-") }
    expect(rules.scan(/operating\.md#(\S+)/).flatten - headings).to eq([])
  end

  it "offers alert rules that Prometheus takes, and that tell what they should" do
    skip "Prometheus's promtool is not installed" unless system("promtool", "--version", out: IO::NULL, err: IO::NULL)

    [["check", File.join(docs, "alerts.yml")], ["test", File.expand_path("support/alerts_test.yml", __dir__)]]
      .each do |verb, file|
      output, status = Open3.capture2e("promtool", verb, "rules", file)
      expect(status).to be_success, output
    end
  rescue Errno::ENOENT
    skip "Prometheus's promtool is not installed"
  end
end
