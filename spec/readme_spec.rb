# frozen_string_literal: true

# The README's Ruby examples, run as printed; the text below one is what it prints.
RSpec.describe "README.md" do
  readme = File.read(File.expand_path("../README.md", __dir__))
  blocks = readme.scan(/^```(ruby|text)\n(.*?)^```$/m)
  examples = blocks.each_index.select { |index| blocks[index].first == "ruby" }.map do |index|
    language, text = blocks[index + 1]
    [blocks[index].last, language == "text" ? text : nil]
  end
  servers, scripts = examples.partition { |_, output| output.nil? }

  it "has the examples this spec is about" do
    expect([servers.size, scripts.size]).to eq([1, 5])
  end

  scripts.each do |script, output|
    it "tells the truth: #{script.lines.first(4).join.strip.inspect}" do
      # The parent of the two-process example needs its child.
      if script.include?("parent.rb")
        servers.each do |server, _|
          ruby(server.sub(/^sleep$/, "puts 'ready'; sleep").to_s).line
        end
      end
      process = ruby("$stderr = $stdout\n#{script}")
      expect(process.rest).to eq(output)
      expect(process.wait).to be_success
    end
  end

  it "names every option, and no other" do
    options = readme[/## Options of `connect`.*?\n\n`redis_options`/m]
    documented = options.scan(/^\| `(?:(\w+): \{ )?(\w+):?/).map { |parts| parts.compact.join(".") }
    known = [{}, *%i[ledger consumer dispatcher dead_letters].map { |name| { name => {} } }].flat_map do |sections|
      section = sections.keys.first
      unknown = section ? { section => { oops: 1 } } : { oops: 1 }
      names = unknown_option_message(unknown)[/known here: (.*)/, 1].split(", ")
      names.map { |name| section ? "#{section}.#{name}" : name }
    end
    expect(documented).to match_array(known - %w[ledger consumer dispatcher dead_letters])
  end

  def unknown_option_message(options)
    RedisIPC::Stream.new("a", "b").connect(**options)
  rescue RedisIPC::ConfigurationError => e
    e.message
  end
end
