# frozen_string_literal: true

require "open3"

RSpec.describe "the electric household" do
  household = File.expand_path("../examples/electric_household/household.rb", __dir__)
  library = File.expand_path("../lib", __dir__)

  [nil, :shared].each do |server|
    it "holds its conversation with #{server || "a throwaway"} Redis" do
      environment = { "REDIS_URL" => server && RedisServer.shared.url }
      output, status = Open3.capture2e(environment, RbConfig.ruby, "-I#{library}", household)
      expect(status).to be_success, output
      expect(output.scan(/^ {2}Parent: Please .+\n {3}Child: .+$/).size).to eq(8)
      expect(output).to match(/TimeoutError after 1 s, outcome: :unclaimed/)
      # An inbox that no group ever joined remains until it expires.
      expect(redis.keys.grep_v("electric_household:inbox:grandparents")).to be_empty
      expect(redis.keys.map { |key| redis.ttl(key) }).to all(be_positive)
    end
  end
end

RSpec.describe "the busy house" do
  house = File.expand_path("../examples/busy_house/house.rb", __dir__)
  library = File.expand_path("../lib", __dir__)

  def overview(address)
    JSON.parse(Net::HTTP.get(URI("#{address}api/overview.json")), symbolize_names: true)
  end

  it "shows its troubles on its page, until it is told to end" do
    process = run_process(RbConfig.ruby, "-I#{library}", house)
    address = process.line[%r{http://\S+/}]
    seen = eventually(timeout: 30, every: 0.1) do
      facts = overview(address)
      slow = facts[:groups].find { |group| group[:name] == "bakery" }
      facts if slow && slow[:waiting].to_i.positive? && facts[:groups].size == 4 && facts[:event_groups].any?
    end
    expect(seen[:groups].map { |group| group[:name] }).to match_array(%w[kitchen bakery toaster parent])
    process.kill(:INT)
    expect(process.wait).to be_success
  end
end
