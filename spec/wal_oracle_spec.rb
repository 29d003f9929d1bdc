# frozen_string_literal: true

require_relative "../oracle/wal/trial"

# A short run of bin/oracle wal.
RSpec.describe "random transactions of PostgreSQL" do
  include WalDatabases

  let(:seed) { Random.rand(1_000_000) }
  let(:trial) { Oracle::Wal::Trial.new(seed, { host: cluster.folder, user: "spec", dbname: database_name }) }

  it "come as events that make a copy of the tables, and say what another decoder says" do
    failures = trial.run { |rounds| rounds < 12 }
    expect([seed, failures]).to eq([seed, []])
    expect(trial.figures[:events]).to be > 100
  end

  # What is seen of events that are wrong.
  describe "whose events are not right" do
    # Runs a trial in which the block spoils one event.
    def spoil(kind)
      has_spoiled = false
      trial.define_singleton_method(:first_ones) do |events|
        found = super(events)
        place = found.index { |event| event.operation == kind } unless has_spoiled
        has_spoiled ||= !place.nil?
        place ? yield(found, place) : found
      end
      trial.run { |rounds| rounds < 30 && !has_spoiled }
    end

    it "are seen where one is missing" do
      expect(spoil(:insert) { |events, place| events.reject.with_index { |_, index| index == place } })
        .to include(match(/the other decoder says|did not come/))
    end

    it "are seen where a value differs" do
      failures = spoil(:insert) do |events, place|
        event = events[place]
        wrong = event.data.merge("uid" => event["uid"] + 1_000_000)
        [*events[...place], spoiled(event, wrong), *events[(place + 1)..]]
      end
      expect(failures).to include(match(/values: .*uid/))
    end

    def spoiled(event, data)
      instance_double(RedisIPC::ChangeEvent, data: data, operation: event.operation, metadata: event.metadata,
                                             transaction: event.transaction, old: nil, type: event.type)
    end
  end
end
