# frozen_string_literal: true

require "open3"

# ext/redis_ipc_core/examples/member.rs: a Rust program on a stream, without Ruby.
RSpec.describe "a Rust program" do
  root = File.expand_path("..", __dir__)

  # It is compiled once, before the time limit of an example begins.
  before(:all) do
    output, status = Open3.capture2e("cargo", "build", "--release", "--locked", "--package", "redis_ipc_core",
                                     "--example", "member", chdir: root)
    raise output unless status.success?
  end

  def member(*arguments)
    run_process(File.expand_path("../target/release/examples/member", __dir__), *arguments)
  end

  it "answers Ruby, and asks it" do
    expect(member("house", "rust").line).to eq("ready")
    ruby = connect("ruby") { |entry| fulfill_request(entry, content: { heard: entry.content }) }
    expect(ruby.send_to_group(content: "Grüße", to: "rust").value).to eq("You said: Grüße")
    expect(ruby.send_to_group(content: 7, to: "rust").reason).to eq("I only understand text")
    expect(member("house", "asker", "ruby", '"Grüße"').rest.force_encoding("UTF-8"))
      .to eq(%(fulfilled: {"heard":"Grüße"}\n))
  end

  it "joins a group with Ruby, and leaves when told to" do
    expect((rust = member("house", "mixed")).line).to eq("ready")
    connect("mixed") { |entry| fulfill_request(entry, content: "Ruby heard: #{entry.content}") }
    asker = connect("asker")
    answers = Array.new(50) { asker.async_send_to_group(content: "Hi", to: "mixed") }.map(&:value)
    expect(answers.uniq - ["You said: Hi", "Ruby heard: Hi"]).to be_empty

    rust.end_input
    expect(rust.wait).to be_success
    expect(asker.instances.map { |instance| instance[:group] }).to match_array(%w[mixed asker])
    expect(asker.send_to_group(content: "Hi", to: "mixed").value).to eq("Ruby heard: Hi")
  end
end
