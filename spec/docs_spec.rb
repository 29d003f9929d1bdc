# frozen_string_literal: true

# Checks every page: its Ruby examples print what it says, and its links lead somewhere.
module Pages
  ROOT = File.expand_path("..", __dir__)
  ALL = %w[README.md CHANGELOG.md examples/README.md bench/RESULTS.md docs/*.md].flat_map do |pattern|
    Dir.glob(pattern, base: ROOT)
  end.freeze

  # A block of Ruby. The text block right below it is what it prints.
  Example = Struct.new(:script, :output, keyword_init: true) do
    # Whether it is a process that others ask. It runs while they do.
    def server?
      output.nil? && script.match?(/^sleep$/)
    end

    def title
      script.lines.grep_v(/^(require .*)?$/).first(2).join.strip.inspect
    end
  end

  module_function

  def read(page)
    File.read(File.join(ROOT, page))
  end

  def examples(page)
    read(page).scan(/^```ruby\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?/m).map do |script, output|
      Example.new(script: script, output: output)
    end
  end

  # Returns the anchors that GitHub makes of the headings of a page.
  def anchors(page)
    headings = read(page).gsub(/^```.*?^```$/m, "").scan(/^\#{1,6} (.+)$/).flatten
    headings.map { |heading| heading.gsub(/\[([^\]]*)\]\([^)]*\)/, '\1').downcase.gsub(/[^\w\- ]/, "").tr(" ", "-") }
  end

  def links(page)
    text = read(page).gsub(/^```.*?^```$/m, "").gsub(/`[^`\n]*`/, "``")
    text.scan(/\]\(([^)\s]+)\)/).flatten.grep_v(/\A[a-z]+:/)
  end

  # Returns the files of this project that a page names: `lib/redis_ipc/errors.rb`, `resp/decode.rs`. The names
  # `spec/rails_helper.rb` and `spec/NAME_spec.rb` stand for files of readers.
  def named_files(page)
    names = read(page).scan(%r{`((?:(?:lib|ext|sig|spec|tasks)/)?[a-z_/]+\.(?:rb|rs|rbs))`}).flatten.uniq
    names.grep(%r{\A(lib|ext|sig|spec|tasks)/|\.rs\z}).grep_v(%r{\Aspec/(rails|spec)_helper\.rb\z})
  end

  # @return [String, nil] what is wrong with the link
  def fault(page, link)
    path, anchor = link.split("#", 2)
    target = path.empty? ? page : File.join(File.dirname(page), path).delete_prefix("./")
    full = File.expand_path(target, ROOT)
    return "#{page}: #{link} leads nowhere" unless File.exist?(full)
    return if anchor.nil? || anchors(full.delete_prefix("#{ROOT}/")).include?(anchor)

    "#{page}: #{link} has no such heading"
  end
end

RSpec.describe "the pages" do
  Pages::ALL.each do |page|
    examples = Pages.examples(page)
    servers = examples.select(&:server?)

    examples.select(&:output).each do |example|
      it "of #{page} print what they say: #{example.title}" do
        servers.each { |server| ruby(server.script.sub(/^sleep$/, "puts 'ready'; sleep")).line }
        process = ruby("$stderr = $stdout\n#{example.script}")
        expect(process.rest).to eq(example.output)
        expect(process.wait).to be_success
      end
    end

    # Other blocks are parts of a program: an option, a block, a class of a Rails application.
    (examples - servers).reject(&:output).each do |example|
      it "of #{page} are Ruby: #{example.title}" do
        expect { RubyVM::InstructionSequence.compile(example.script) }.not_to raise_error
      end
    end

    it "of #{page} name files that are there" do
      missing = Pages.named_files(page).select { |name| Dir.glob("{#{name},ext/**/#{name}}", base: Pages::ROOT).empty? }
      expect(missing).to be_empty
    end

    it "of #{page} link to pages and headings that are there" do
      expect(Pages.links(page).filter_map { |link| Pages.fault(page, link) }).to be_empty
    end
  end

  it "are all in the table of contents" do
    pages = Dir.children(File.join(Pages::ROOT, "docs")).grep(/\.md\z/) - ["README.md"]
    expect(Pages.links("docs/README.md").uniq).to match_array(pages)
  end

  it "show the same Rails application in README.md as in docs/rails.md, which is run" do
    rails = Pages.read("docs/rails.md")
    blocks = Pages.examples("README.md").map(&:script).grep(/Application(Ipc|Controller)/)
    expect(blocks.size).to eq(2)
    expect(blocks.map { |block| rails.include?(block) }).to all(be(true))
  end

  it "name every option, and no other" do
    options = Pages.read("docs/options.md")[/## Options of `connect`.*?\n## /m]
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
