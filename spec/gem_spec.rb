# frozen_string_literal: true

require "fileutils"
require "open3"
require "rubygems/package"
require "tmpdir"

RSpec.describe "the gem" do
  root = File.expand_path("..", __dir__)
  tracked = Dir.chdir(root) do
    Dir["lib/**/*.{rb,rake,tt}", "sig/**/*.rbs", "docs/*.md", "README.md", "CHANGELOG.md", "LICENSE"]
  end
  sources = Dir.chdir(root) { Dir["ext/**/*.{rs,toml}", "Cargo.toml", "Cargo.lock"] }

  def run(folder, *command, environment: {})
    output, status = Open3.capture2e(environment, *command, chdir: folder)
    expect(status).to be_success, output
    output
  end

  # What the installed gem says of itself in a process with nothing else on its path.
  def required_from(folder)
    script = 'require "redis_ipc"; puts RedisIPC::VERSION, $LOADED_FEATURES.grep(/redis_ipc\.so/)'
    version, library = run("/", RbConfig.ruby, "-e", script, environment: { "GEM_PATH" => folder, "RUBYLIB" => nil })
                       .split("\n")
    expect(version).to eq(RedisIPC::VERSION)
    expect(library).to start_with(File.realpath(folder))
    library
  end

  def install(package, folder, environment = {})
    command = %w[gem install --local --no-document --install-dir]
    run(folder, *command, folder, package, environment: environment)
  end

  it "is built, installed and required from anywhere", timeout: 600 do
    Dir.mktmpdir do |folder|
      package = File.join(folder, "redis_ipc.gem")
      run(root, "gem", "build", "--strict", "redis_ipc.gemspec", "--output", package)

      # Nothing missing, nothing stray, and small.
      expect(Gem::Package.new(package).contents).to match_array(tracked + sources)
      expect(File.size(package)).to be < 500_000

      # The dependencies are compiled already; a user's machine compiles them too.
      install(package, folder, { "CARGO_TARGET_DIR" => File.join(root, "target") })
      required_from(folder)
    end
  end

  it "is also built with the compiled library, and then needs no compiler", timeout: 600 do
    minor = RUBY_VERSION[/\A\d+\.\d+/]
    package = run(root, "rake", "--silent", "gem:native", environment: { "RUBIES" => nil }).lines.last.chomp
    contents = Gem::Package.new(package).contents
    libraries, others = contents.partition { |file| file.end_with?(".so") }
    expect(others).to match_array(tracked)
    expect(libraries).to include("lib/redis_ipc/#{minor}/redis_ipc.so")
    expect(libraries).to all(match(%r{\Alib/redis_ipc/\d\.\d/\w+\.so\z}))
    expect(File.size(package)).to be < 3_000_000 * libraries.size

    specification = Gem::Package.new(package).spec
    expect(specification).to have_attributes(platform: Gem::Platform.local, extensions: [])
    expect(specification.required_ruby_version).to be_satisfied_by(Gem::Version.new(RUBY_VERSION))
    expect(specification.required_ruby_version).not_to be_satisfied_by(Gem::Version.new("3.0.9"))

    Dir.mktmpdir do |folder|
      # Whoever called cargo or a compiler would fail.
      install(package, folder, { "PATH" => tools_without_compilers(folder) })
      expect(required_from(folder)).to end_with("/#{minor}/redis_ipc.so")
    end
  end

  def tools_without_compilers(folder)
    tools = File.join(folder, "tools")
    FileUtils.mkdir_p(tools)
    found = %w[env ruby gem sh tar gzip].to_h { |tool| [tool, run("/", "sh", "-c", "command -v #{tool}").chomp] }
    found.each { |tool, path| File.symlink(path, File.join(tools, tool)) }
    tools
  end

  it "has the crates' version" do
    expect(File.read(File.join(root, "Cargo.toml"))).to include(%(version = "#{RedisIPC::VERSION}"))
  end
end
