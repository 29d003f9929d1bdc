# frozen_string_literal: true

require "open3"
require "rbconfig"
require "shellwords"
require "tmpdir"
require_relative "advice"
require_relative "libclang"

# What building the extension takes. Whatever can be tried is tried: the compilers compile, and libclang reads Ruby's
# headers, as they will in the build. `ruby ext/redis_ipc/requirements.rb` prints what is missing, for bin/setup.
#
# A wrong refusal blocks an installation that would have worked. Only what the build is certain to fail without is
# therefore missing; any other finding is a doubt, which is told and blocks nothing.
class BuildRequirements
  # what:: what is missing
  # found:: what this machine has instead
  # part:: what to install (see BuildAdvice), or nil where installing does not help
  # package:: the Debian package, where it depends on what was found
  # command:: what to run, where that is no installation
  # certain:: whether the build fails without it
  Missing = Struct.new(:what, :found, :part, :package, :command, :certain, keyword_init: true) do
    def to_s
      "#{what}: #{found}"
    end
  end

  RUST = File.read(File.expand_path("../../Cargo.toml", __dir__))[/^rust-version = "([\d.]+)"/, 1]
  PROBE = File.expand_path("libclang_probe.c", __dir__)
  # With these the build uses another compiler, target or Ruby than the checks look at.
  REDIRECTING = /\A(CARGO_BUILD_TARGET|RBCONFIG_\w+|HOST_CC|TARGET_CC|CC_\w.*|BINDGEN_EXTRA_CLANG_ARGS_.+)\z/
  private_constant :PROBE, :REDIRECTING

  # @param for_gem [Boolean] RubyGems builds, not `rake compile`: it calls make, and links with Ruby's own compiler
  def initialize(for_gem: false)
    @for_gem = for_gem
    @libclang = Libclang.new
  end

  # @return [Array<Missing>] what the build fails without
  def missing
    findings.select(&:certain)
  end

  # @return [Array<Missing>] what may be missing, or what could not be checked
  def doubts
    findings.reject(&:certain)
  end

  private

  def findings
    @findings ||= in_folder { [check(:make), *tools, check(:found_ruby), check(:headers), check(:libclang)].compact }
  end

  # Next to this file, where RubyGems builds as well. The folder for temporary files may allow no programs to run.
  def in_folder
    place = File.writable?(__dir__) ? __dir__ : Dir.tmpdir
    Dir.mktmpdir(".check.", place) do |folder|
      @folder = folder
      yield
    end
  rescue SystemCallError, ArgumentError => e
    [doubt("a folder for trying the compilers", e.message)]
  end

  # A check that fails itself says nothing about the machine.
  def check(name)
    send(name)
  rescue StandardError => e
    doubt("the check of #{name}", "#{e.class}: #{e.message}")
  end

  # A C compiler that fails here may not be the one that the build uses (Cargo's configuration may name that), unless
  # Rust cannot link either, or CC names it.
  def tools
    version = check(:rust_version)
    c = check(:compiler)
    rust = check(:rust_program) unless version
    c.certain &&= [rust, version].any? || ENV.key?("CC") if c
    [version, c, (rust unless c&.certain)].compact
  end

  def finding(what, said, part = nil, certain: true, **advice)
    Missing.new(what: what, found: telling(said), part: part, certain: certain && !redirected?, **advice)
  end

  def doubt(what, said)
    finding(what, said, certain: false)
  end

  def redirected?
    ENV.keys.any?(REDIRECTING)
  end

  # RubyGems' own rule for its name. Not every make knows --version.
  def make
    return unless @for_gem

    name = ENV["MAKE"] || ENV["make"] || RbConfig::CONFIG["configure_args"].to_s[/with-make-prog=(\w+)/, 1] || "make"
    said, _, status = run(*name.shellsplit, "--version")
    finding("make", said, :compiler) unless status
  end

  # With rustup, `cargo` may be there and have no toolchain, or an old one. CARGO may name something else.
  def rust_version
    what = "Rust #{RUST} or newer"
    said, ran = run(cargo, "--version")
    return off_path(what, said) if !ran && rustup
    return finding(what, said, :rust) unless ran

    name, version = said.match(/^(cargo (\d+\.\d+(?:\.\d+)?).*)/)&.captures
    finding(what, "this is #{name}", :rust) if version && Gem::Version.new(version) < Gem::Version.new(RUST)
  end

  # sudo sets a PATH of its own, whatever was exported before.
  def off_path(what, said)
    finding(what, "#{telling(said)}. It is in #{rustup}, which is not on the PATH",
            command: (%(export PATH="#{rustup}:$PATH") unless ENV.key?("SUDO_USER")))
  end

  # Where rustup puts programs, if it did and they are not found: sudo, for one, has another PATH.
  def rustup
    homes = [*ENV.values_at("HOME").compact, *(File.join("/home", ENV["SUDO_USER"]) if ENV["SUDO_USER"])]
    folders = [*ENV.fetch("CARGO_HOME", nil), *homes.map { |home| File.join(home, ".cargo") }]
    found = folders.map { |folder| File.join(folder, "bin") }.find { |bin| File.executable?(File.join(bin, "cargo")) }
    found unless ENV.fetch("PATH", "").split(File::PATH_SEPARATOR).include?(found)
  end

  # Where what it compiles does not run here, libclang is not tried.
  def compiler
    program = File.join(@folder, "probe")
    flags = ENV.fetch("CFLAGS", "").shellsplit
    said, ran = run(*compiler_command, *flags, PROBE, "-o", program, "-ldl")
    return finding("a C compiler and linker, with the C library's headers", said, :compiler) unless ran

    @probe = program if run(program)[1]
    nil
  end

  # Cargo with its settings (found from this folder, as in the build), the compiler that it takes, the linker, the
  # standard library: a crate with a build script, as many of the build's are.
  def rust_program
    command = [cargo, "rustc", "--offline", "--quiet", "--release", "--manifest-path", crate,
               "--target-dir", File.join(@folder, "target")]
    command.push("--", "-C", "linker=#{ruby_compiler.shellsplit.first}") if @for_gem
    said, ran = run(*command)
    return if ran

    part = { "linker" => :compiler, "linking" => :compiler, "is not supported by" => :rust }
    finding("a Rust toolchain (#{RUST} or newer) that compiles and links", said,
            part.find { |word, _| telling(said).include?(word) }&.last)
  end

  # @return [String] the path of its manifest
  def crate
    write("build.rs", "fn main() {}")
    write("lib.rs", "")
    write("Cargo.toml", <<~TOML)
      [package]
      name = "probe"
      version = "0.1.0"
      edition = "2024"
      rust-version = "#{RUST}"
      build = "build.rs"
      [lib]
      path = "lib.rs"
      crate-type = ["cdylib"]
      [workspace]
    TOML
  end

  # rb-sys asks the Ruby of that name, whichever Ruby calls Cargo. Since 3.4 RubyGems tells it most by variables.
  def found_ruby
    name = ENV["RUBY"] || "ruby"
    this = RbConfig::CONFIG.values_at("ruby_version", "arch").join(" ")
    said, ran = run({ "RUBYOPT" => nil }, name, "--disable-gems", "-rrbconfig", "-e",
                    "print RbConfig::CONFIG.values_at('ruby_version', 'arch').join(' ')")
    return if ran && said.include?(this)

    told = @for_gem && Gem::Version.new(Gem::VERSION) >= Gem::Version.new("3.4")
    finding("a `#{name}` that is this Ruby (#{this})", "#{telling(said)}. Set RUBY=#{RbConfig.ruby}",
            certain: !(ran && told))
  end

  def headers
    files = { "rubyhdrdir" => "ruby.h", "rubyarchhdrdir" => "ruby/config.h" }
    paths = files.map { |folder, name| File.join(RbConfig::CONFIG[folder].to_s, name) }
    file = paths.find { |path| !File.exist?(path) }
    return unless file

    @without_headers = true
    # Debian has them in a package for each version; who compiled a Ruby has them with it.
    package = "ruby#{RUBY_VERSION[/\A\d+\.\d+/]}-dev"
    finding("Ruby's headers", "#{file} is not there",
            (:ruby if RbConfig::CONFIG["rubylibdir"].start_with?("/usr/lib/", "/usr/share/")), package: package)
  end

  def libclang
    what = "libclang 9 or newer, with its headers"
    path = @libclang.path
    # On other systems the search was never compared with that of the build.
    return finding(what, *without_libclang, certain: RUBY_PLATFORM.include?("linux")) unless path
    return unless @probe

    arguments = [*header_flags, "-fms-extensions", *RbConfig::CONFIG["cflags"].shellsplit,
                 *ENV.fetch("BINDGEN_EXTRA_CLANG_ARGS", "").shellsplit]
    folders = @libclang.header_folders(arguments).flat_map { |folder| ["-isystem", folder] }
    said, _, status = run(@probe, path, source, *arguments, *folders)
    unusable(what, path, telling(said), status) unless status&.zero?
  end

  def without_libclang
    given = ENV.fetch("LIBCLANG_PATH", nil)
    return ["there is none", :libclang] unless given

    other = Libclang.new(ENV.to_h.except("LIBCLANG_PATH")).path
    ["LIBCLANG_PATH=#{given} is neither a libclang nor a folder with one. Without that variable " \
     "#{other || "none"} is found", (:libclang unless other)]
  end

  def unusable(what, path, said, status)
    reasons = { 1 => "cannot be loaded", 2 => "is older", 3 => "cannot read Ruby's headers" }
    # Of several the build takes the newest: the package for all would bring the headers of another.
    version = File.realpath(path)[%r{/(?:libclang|llvm)-(\d+)}, 1]
    package = "libclang-#{version}-dev" if version && status == 3
    found = "#{path} #{reasons.fetch(status, "crashes")} (#{said})"
    certain = [1, 2].include?(status) || said.include?("file not found")
    finding(what, found, :libclang, package: package, certain: certain)
  end

  def header_flags
    config = RbConfig::CONFIG
    ["-I#{config["rubyhdrdir"]}", "-I#{config["rubyarchhdrdir"]}", *config["CPPFLAGS"].to_s.shellsplit]
  end

  def source
    write("wrapper.c", "#include <stdarg.h>\n#include <stdio.h>\n#{"#include <ruby.h>\n" unless @without_headers}")
  end

  def write(name, text)
    path = File.join(@folder, name)
    File.write(path, text)
    path
  end

  def cargo
    ENV["CARGO"] || "cargo"
  end

  # A path with a space is one word.
  def compiler_command
    name = ENV["CC"] || "cc"
    File.file?(name) ? [name] : name.shellsplit
  end

  def ruby_compiler
    RbConfig.expand(RbConfig::MAKEFILE_CONFIG["CC"].dup)
  end

  # @return [Array] what the command said, whether it succeeded, its exit status (-1: a signal; nil: it did not start)
  def run(*command, **options)
    said, status = Open3.capture2e(*command, stdin_data: "", **options)
    [said.scrub, status.success?, status.exitstatus || -1]
  rescue SystemCallError => e
    name = command.find { |word| word.is_a?(String) }
    ["`#{name}` was not found#{" (#{e.class.name[/\w+\z/]})" unless e.is_a?(Errno::ENOENT)}", false, nil]
  end

  # One line, the first that names an error if there is one. A library that cannot be preloaded is no error.
  def telling(said)
    lines = said.gsub("#{@folder}/", "").lines.map(&:strip).reject { |line| line.empty? || line.include?("LD_PRELOAD") }
    lines.find { |line| line.match?(/\berror\b/i) } || lines.first || "it failed without a word"
  end
end

if $PROGRAM_NAME == __FILE__
  requirements = BuildRequirements.new
  requirements.doubts.each { |doubt| warn "This may be missing: #{doubt}" }
  puts BuildAdvice.new(requirements.missing, manager: "apt-get").lines
  exit requirements.missing.empty?
end
