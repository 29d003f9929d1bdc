# frozen_string_literal: true

require "fileutils"
require "open3"
require "tmpdir"

RSpec.describe "the gem" do
  root = File.expand_path("..", __dir__)

  it "is built, installed and required from anywhere", timeout: 600 do
    Dir.mktmpdir do |folder|
      package = File.join(folder, "redis_ipc.gem")
      run(root, "gem", "build", "--strict", "redis_ipc.gemspec", "--output", package)

      contents = run(root, "tar", "--extract", "--to-stdout", "--file", package, "data.tar.gz", binary: true)
      files = Open3.capture2("tar", "--list", "--gzip", stdin_data: contents, binmode: true).first.split("\n")
      expect(files).to include("Cargo.lock", "Cargo.toml", "README.md", "LICENSE", "lib/redis_ipc.rb",
                               "ext/redis_ipc/Cargo.toml", "ext/redis_ipc_core/src/engine.rs")
      expect(files.grep(%r{\A(spec|bin|target|\.)|\.so\z|/tmp/})).to be_empty

      # The dependencies are compiled already; a user's machine compiles them too.
      target = { "CARGO_TARGET_DIR" => File.join(root, "target") }
      run(folder, "gem", "install", "--local", "--no-document", "--install-dir", folder, package, environment: target)
      script = 'require "redis_ipc"; puts RedisIPC::VERSION, $LOADED_FEATURES.grep(/redis_ipc\.so/)'
      output = run("/", RbConfig.ruby, "-e", script, environment: { "GEM_PATH" => folder, "RUBYLIB" => nil })
      version, library = output.split("\n")
      expect(version).to eq(RedisIPC::VERSION)
      expect(library).to start_with(File.realpath(folder))
    end
  end

  it "has the crates' version" do
    expect(File.read(File.join(root, "Cargo.toml"))).to include(%(version = "#{RedisIPC::VERSION}"))
  end

  def run(folder, *command, environment: {}, binary: false)
    output, status = Open3.capture2e(environment, *command, chdir: folder, binmode: binary)
    expect(status).to be_success, output
    output
  end
end
