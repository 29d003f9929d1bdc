# frozen_string_literal: true

# Members of a group that have different settings though all must have the same. The core's tests show that those that
# were there before are told with their next record (record/writer.rs).
RSpec.describe "settings that differ within a group" do
  def join(**consumer)
    connect("child", consumer: consumer, &echo)
  end

  # Returns the messages of the next errors.
  def told(count)
    found = Array.new(count) { next_of(errors) }
    expect(found).to all(be_a(RedisIPC::ConfigurationError))
    found.map(&:message)
  end

  it "are told once to whoever connects, with both processes" do
    connect("parent", &echo)
    join(lease: 1, max_deliveries: 5)
    rpc_server(lease: 1)
    consume(lease: 1, attempts: 3) { nil }
    expect(errors).to be_empty
    join(lease: 2, max_deliveries: 3)
    rpc_server(lease: 2)
    consume(lease: 2, attempts: 3) { nil }
    process = "process,? #{Process.pid} on \"[^\"]+\""
    newcomers = told(3)
    expect(newcomers).to all(match(/\Athis #{process}, and the #{process} serve one group with different settings: /))
    expect(newcomers).to contain_exactly(/: lease 2 s and 1 s, max_deliveries 3 and 5; .*stream: house, group: child/,
                                         /: lease 2 s and 1 s; .*stream: calculator/,
                                         /: lease 2 s and 1 s; .*stream: orders, group: billing/)
    # Another one with the same difference tells it too, and nobody hears it again.
    join(lease: 2, max_deliveries: 3)
    expect(told(1)).to contain_exactly(/lease 2 s and 1 s, max_deliveries 3 and 5/)
    expect(errors).to be_empty
  end

  it "are not those of askers, or of other groups" do
    join(lease: 1)
    connect("parent", consumer: { lease: 5 })
    connect("other", consumer: { lease: 5 }, &echo)
    connect("child", consumer: { lease: 5 })
    connect("child", consumer: { lease: 1 }, ledger: { max_timeout: 60 }, &echo)
    expect(errors).to be_empty
    connect("child", consumer: { lease: 1 }, ledger: { max_timeout: 7_200 })
    expect(told(1)).to contain_exactly(/settings: longest_ttl 7200 s and 3600 s; all must have the same/)
  end
end
