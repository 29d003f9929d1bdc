# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"
require "pathname"
require "rubygems/package"
require "tmpdir"

RSpec.describe "the gem" do
  root = File.expand_path("..", __dir__)
  unoptimized = { "LTO" => "off", "OPT_LEVEL" => "0", "CODEGEN_UNITS" => "16" }.transform_keys do |name|
    "CARGO_PROFILE_RELEASE_#{name}"
  end

  # This does not use the gemspec. What must be in a gem is what Ruby, Cargo and readers look for. For Ruby that is
  # everything in lib and sig, including templates and tasks.
  def wanted_by_ruby(root)
    files = Dir.glob("{lib,sig,exe}/**/*", File::FNM_DOTMATCH, base: root)
    files.select { |file| File.file?(File.join(root, file)) }.grep_v(/\.(so|bundle)\z/)
  end

  # Returns the pages that the README links to, and those that they link to.
  def wanted_by_readers(root)
    pages = links(root, "README.md")
    (pages | pages.flat_map { |page| links(root, page) }) + %w[README.md CHANGELOG.md LICENSE]
  end

  def links(root, page)
    targets = File.read(File.join(root, page)).scan(%r{\]\(([\w./-]+\.md)(?:#[^)]*)?\)}).flatten
    targets.map { |target| Pathname(page).dirname.join(target).to_s }.grep(%r{\Adocs/})
  end

  def run(folder, *command, environment: {})
    output, status = Open3.capture2e(environment, *command, chdir: folder)
    expect(status).to be_success, output
    output
  end

  # Checks that there are no development files, no build products, no hidden files, and nothing from outside.
  def expect_nothing_stray(contents, folders)
    expect(contents.uniq).to eq(contents)
    expect(contents.grep(%r{\A[^/]+/}).map { |file| file[%r{\A[^/]+}] }.uniq).to match_array(folders)
    expect(contents.grep(%r{(\A|/)(spec|tests|bench|chaos|soak|bin|tasks|target|tmp|pkg|node_modules)/})).to be_empty
    expect(contents.grep(%r{(\A|/)\.|_spec\.rb\z|\.(gem|log|o|d|rlib|orig|rej|new)\z})).to be_empty
    expect(contents).to all(match(%r{\A\w[\w/.-]*\z}))
  end

  # @param folder [String] the installed platform gem
  def expect_third_parties_named(folder, specification)
    bill = JSON.parse(File.read(File.join(folder, specification.metadata.fetch("sbom"))))
    expect(bill.dig("metadata", "component", "purl"))
      .to eq("pkg:gem/redis_ipc@#{RedisIPC::VERSION}?platform=#{Gem::Platform.local}")
    texts = File.read(File.join(folder, "THIRD-PARTY-LICENSES.txt"))
    crates = bill.fetch("components").map { |component| component.values_at("name", "version").join(" ") }
    expect(crates.grep_v(/\Arust-std /)).to eq(texts.scan(/^(\S+ \S+): .+ \[/).flatten)
    expect(File.read(File.join(folder, "THIRD-PARTY-LICENSES-rust.html"))).to include("The Rust Standard Library")
  end

  # Returns what the installed gem loads for each of its entry points, in a process without this checkout on its path.
  # Rails has entry points of its own, if this Ruby has Rails.
  def required_from(folder)
    script = <<~RUBY
      require "rake"
      rails = #{ENV.fetch("WITHOUT_GEMS", "").split.none?("rails")}
      %w[rails rails/generators].each { |name| require name } if rails
      %w[redis_ipc redis_ipc/testing redis_ipc/rspec redis_ipc/minitest].each { |name| require name }
      if rails
        %w[install channel consumer].each { |name| require "generators/redis_ipc/\#{name}/\#{name}_generator" }
        RedisIPC::OnRails::Railtie.rake_tasks.each { |tasks| instance_exec(&tasks) }
      end
      puts RedisIPC::VERSION, !rails || Rake.application.tasks.any?, $LOADED_FEATURES.grep(/redis_ipc/)
    RUBY
    environment = { "GEM_PATH" => [folder, *Gem.path].join(File::PATH_SEPARATOR), "RUBYLIB" => nil }
    version, tasks, *loaded = run("/", RbConfig.ruby, "-e", script, environment: environment).split("\n")
    expect([version, tasks]).to eq([RedisIPC::VERSION, "true"])
    expect(loaded).to all(start_with(File.realpath(folder)))
    loaded.grep(/redis_ipc\.so\z/).first
  end

  # Runs the command as RubyGems installs it.
  def run_command(folder)
    environment = { "GEM_PATH" => [folder, *Gem.path].join(File::PATH_SEPARATOR), "RUBYLIB" => nil }
    run("/", RbConfig.ruby, File.join(folder, "bin/redis_ipc"), "--version", environment: environment)
  end

  def install(package, folder, environment = {})
    command = %w[gem install --local --no-document --install-dir]
    run(folder, *command, folder, package, environment: environment)
  end

  it "is built, installed and required from anywhere", timeout: 600 do
    Dir.mktmpdir do |folder|
      package = File.join(folder, "redis_ipc.gem")
      run(root, "gem", "build", "--strict", "redis_ipc.gemspec", "--output", package)

      contents = Gem::Package.new(package).contents
      expect(contents).to include(*wanted_by_ruby(root), *wanted_by_readers(root), *CrateFiles.of(root))
      expect(contents.grep(/\.(so|bundle|dll)\z/)).to be_empty
      expect_nothing_stray(contents, %w[lib sig docs exe ext])
      expect(File.size(package)).to be < 1_200_000

      # Compiles everything as on a user's machine, because RubyGems gives cargo a folder of its own. It runs only once,
      # so it is not optimized.
      install(package, folder, unoptimized)
      required_from(folder)
      expect(run_command(folder)).to eq("redis_ipc #{RedisIPC::VERSION}\n")
    end
  end

  # RubyGems 3.6 sorts the extensions when it builds a gem, older versions do not.
  it "is checked before it is compiled, even if RubyGems sorts its extensions" do
    extensions = Gem::Specification.load(File.join(root, "redis_ipc.gemspec")).extensions
    expect(extensions).to match([/extconf\.rb\z/, /Cargo\.toml\z/])
    expect(extensions).to eq(extensions.sort)
  end

  it "is also built with the compiled library, and then needs no compiler", timeout: 600 do
    minor = RUBY_VERSION[/\A\d+\.\d+/]
    package = run(root, "rake", "--silent", "gem:native", environment: { "RUBIES" => nil }).lines.last.chomp
    contents = Gem::Package.new(package).contents
    libraries, others = contents.partition { |file| file.end_with?(".so") }
    expect(others).to include(*wanted_by_ruby(root), *wanted_by_readers(root), "THIRD-PARTY-LICENSES.txt")
    expect_nothing_stray(others, %w[lib sig docs exe])
    expect(libraries).to include("lib/redis_ipc/#{minor}/redis_ipc.so")
    expect(libraries).to all(match(%r{\Alib/redis_ipc/\d\.\d/\w+\.so\z}))
    expect(File.size(package)).to be < 4_200_000 * libraries.size

    specification = Gem::Package.new(package).spec
    expect(specification).to have_attributes(platform: Gem::Platform.local, extensions: [])
    expect(specification.required_ruby_version).to be_satisfied_by(Gem::Version.new(RUBY_VERSION))
    expect(specification.required_ruby_version).not_to be_satisfied_by(Gem::Version.new("3.0.9"))

    Dir.mktmpdir do |folder|
      # Calling cargo or a compiler would fail here.
      install(package, folder, { "PATH" => tools_without_compilers(folder) })
      expect(required_from(folder)).to end_with("/#{minor}/redis_ipc.so")
      expect_third_parties_named(File.join(folder, "gems", specification.full_name), specification)
    end
  end

  describe "without a library for this Ruby" do
    around { |example| Dir.mktmpdir { |folder| @folder = folder and example.run } }

    # Returns the error of loading this checkout's Ruby files, with empty files in the places of libraries for other
    # Rubies.
    define_method(:load_error) do |*others|
      FileUtils.cp_r(File.join(root, "lib"), @folder)
      Dir[File.join(@folder, "lib/redis_ipc/*/redis_ipc.so")].each { |file| FileUtils.rm(file) }
      others.each do |name|
        FileUtils.mkdir_p(File.join(@folder, "lib/redis_ipc", name))
        FileUtils.touch(File.join(@folder, "lib/redis_ipc", name, "redis_ipc.so"))
      end
      output, status = Open3.capture2e(RbConfig.ruby, "-I#{@folder}/lib", "-e", 'require "redis_ipc"')
      expect(status).not_to be_success
      output[/redis_ipc has no library.*/] || raise(output)
    end

    it "a platform gem says so" do
      expect(load_error("2.6", "9.9")).to eq(
        "redis_ipc has no library for Ruby #{RUBY_VERSION}, #{RedisIPC::Library::ABI} (it has those for 2.6, 9.9). " \
        "To get one: gem install redis_ipc --platform ruby (LoadError)"
      )
    end

    it "a source gem says so" do
      expect(load_error).to end_with("To get one: gem pristine redis_ipc --extensions (LoadError)")
    end

    # A library that `rake compile` built for the previously installed Ruby could be loaded, and would crash.
    it "a checkout says so" do
      FileUtils.touch(File.join(@folder, "Rakefile"))
      expect(load_error("x86_64-linux-gnu-2.7.0")).to end_with(
        "(it has those for x86_64-linux-gnu-2.7.0). To get one: run `rake compile` in #{@folder} (LoadError)"
      )
    end
  end

  # RubyGems 3.3 keeps what it builds in a folder that several Rubies may share.
  it "is not loaded by another Ruby than it was built for" do
    script = <<~RUBY
      path = RedisIPC::Library.path
      Object.send(:remove_const, :RUBY_VERSION)
      RUBY_VERSION = "9.9.1"
      require path
    RUBY
    output, status = Open3.capture2e(RbConfig.ruby, "-I#{root}/lib", "-rredis_ipc/library", "-e", script)
    expect(status).not_to be_success
    expect(output).to include("(LoadError)", "gem pristine redis_ipc --extensions",
                              "was built for Ruby #{RUBY_VERSION[/\A\d+\.\d+/]}, and this is Ruby 9.9.1.")
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
