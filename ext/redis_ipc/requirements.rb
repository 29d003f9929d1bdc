# frozen_string_literal: true

require "open3"
require "rbconfig"
require "shellwords"
require "tmpdir"
require_relative "advice"
require_relative "libclang"

# What building the extension takes. Whatever can be tried is tried: the compilers compile, and libclang reads Ruby's
# headers, as they will in the build. `ruby ext/redis_ipc/requirements.rb` prints what is missing, for bin/setup.
class BuildRequirements
  # what:: what is missing
  # found:: what this machine has instead
  # part:: what to install (see BuildAdvice), or nil where installing does not help
  # package:: the Debian package, where it depends on what was found
  Missing = Struct.new(:what, :found, :part, :package) do
    def to_s
      "#{what}: #{found}"
    end
  end

  RUST = File.read(File.expand_path("../../Cargo.toml", __dir__))[/^rust-version = "([\d.]+)"/, 1]
  PROBE = File.expand_path("libclang_probe.c", __dir__)
  private_constant :PROBE

  # @param for_gem [Boolean] RubyGems builds, not `rake compile`: it calls make, and links with Ruby's own compiler
  def initialize(for_gem: false)
    @for_gem = for_gem
    @libclang = Libclang.new
  end

  # @return [Array<Missing>]
  def missing
    Dir.mktmpdir("redis_ipc") do |folder|
      @folder = folder
      checks = [(make if @for_gem), rust_version, compiler]
      checks << rust_program unless checks.any?
      [*checks, found_ruby, headers, libclang].compact
    end
  end

  private

  # RubyGems' own rule for its name.
  def make
    name = ENV["MAKE"] || ENV["make"] || RbConfig::CONFIG["configure_args"].to_s[/with-make-prog=(\w+)/, 1] || "make"
    said, ran = run(*name.shellsplit, "--version")
    Missing.new("make", said, :compiler) unless ran
  end

  # With rustup, `cargo` may be there and have no toolchain, or an old one.
  def rust_version
    what = "Rust #{RUST} or newer"
    [cargo, ENV["RUSTC"] || "rustc"].each do |command|
      said, ran = run(command, "--version")
      return Missing.new(what, "#{said}. It is in #{rustup}, which is not on the PATH") if !ran && rustup

      version = said[/\d+\.\d+(\.\d+)?/]
      return Missing.new(what, said, :rust) unless ran && version
      return Missing.new(what, "this is #{said}", :rust) if Gem::Version.new(version) < Gem::Version.new(RUST)
    end
    nil
  end

  # Where rustup puts programs, if it did and they are not found: sudo, for one, has another PATH.
  def rustup
    homes = [Dir.home, *(File.join("/home", ENV["SUDO_USER"]) if ENV["SUDO_USER"])]
    folders = [*ENV.fetch("CARGO_HOME", nil), *homes.map { |home| File.join(home, ".cargo") }]
    found = folders.map { |folder| File.join(folder, "bin") }.find { |bin| File.executable?(File.join(bin, "cargo")) }
    found unless ENV.fetch("PATH", "").split(File::PATH_SEPARATOR).include?(found)
  end

  def compiler
    compilers = [ENV["CC"] || "cc", *(ruby_compiler if @for_gem)].uniq
    compilers.each do |name|
      program = File.join(@folder, "probe")
      said, ran = run(*name.shellsplit, PROBE, "-o", program, "-ldl")
      said, ran = run(program) if ran
      return Missing.new("a C compiler and linker, with the C library's headers", said, :compiler) unless ran

      @probe = program
    end
    nil
  end

  # Cargo with its settings, the linker, the standard library: a crate with a build script, as many of the build's are.
  def rust_program
    write("Cargo.toml", <<~TOML)
      [package]
      name = "probe"
      version = "0.1.0"
      edition = "2024"
      build = "build.rs"
      [lib]
      path = "lib.rs"
      crate-type = ["cdylib"]
      [workspace]
    TOML
    write("build.rs", "fn main() {}")
    write("lib.rs", "")
    command = [cargo, "rustc", "--offline", "--quiet", "--release", "--target-dir", File.join(@folder, "target")]
    command.push("--", "-C", "linker=#{ruby_compiler.shellsplit.first}") if @for_gem
    said, ran = run(*command, chdir: @folder)
    Missing.new("a Rust toolchain that compiles and links", said, (:compiler if said.include?("linker"))) unless ran
  end

  # rb-sys asks the Ruby of that name for its headers, whichever Ruby calls Cargo.
  def found_ruby
    name = ENV["RUBY"] || "ruby"
    said, ran = run({ "RUBYOPT" => nil }, name, "--disable-gems", "-rrbconfig", "-e",
                    "print RbConfig::CONFIG.values_at('ruby_version', 'arch').join(' ')")
    this = RbConfig::CONFIG.values_at("ruby_version", "arch").join(" ")
    return if ran && said == this

    Missing.new("a `#{name}` that is this Ruby (#{this})", "#{said}. Set RUBY=#{RbConfig.ruby}")
  end

  def headers
    said, ran = if @probe
                  run(*compiler_command, "-fsyntax-only", *header_flags, source)
                else
                  file = File.join(RbConfig::CONFIG["rubyhdrdir"].to_s, "ruby.h")
                  ["#{file} is not there", File.exist?(file)]
                end
    return if ran

    @without_headers = true
    # Debian has them in a package for each version; who compiled a Ruby has them with it.
    package = "ruby#{RUBY_VERSION[/\A\d+\.\d+/]}-dev"
    Missing.new("Ruby's headers", said, (:ruby if RbConfig::CONFIG["rubylibdir"].start_with?("/usr/")), package)
  end

  def libclang
    what = "libclang 9 or newer, with its headers"
    path = @libclang.path
    return Missing.new(what, *without_libclang) unless path
    return unless @probe

    arguments = [*header_flags, "-fms-extensions", *RbConfig::CONFIG["cflags"].shellsplit,
                 *ENV.fetch("BINDGEN_EXTRA_CLANG_ARGS", "").shellsplit]
    folders = @libclang.header_folders(arguments).flat_map { |folder| ["-isystem", folder] }
    said, _, status = run(@probe, path, source, *arguments, *folders)
    unusable(what, path, said, status)
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
    return if status.zero?

    # Of several the build takes the newest: the package for all would bring the headers of another.
    version = File.realpath(path)[%r{/(?:libclang|llvm)-(\d+)}, 1]
    package = "libclang-#{version}-dev" if version && status == 3
    Missing.new(what, "#{path} #{reasons.fetch(status, "crashes")} (#{said})", :libclang, package)
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

  def compiler_command
    (ENV["CC"] || "cc").shellsplit
  end

  def ruby_compiler
    RbConfig.expand(RbConfig::MAKEFILE_CONFIG["CC"].dup)
  end

  # @return [Array] what to tell of what the command said, whether it succeeded, its exit status (nil: a signal)
  def run(*command, **options)
    said, status = Open3.capture2e(*command, stdin_data: "", **options)
    [telling(said), status.success?, status.exitstatus || -1]
  rescue SystemCallError => e
    name = command.find { |word| word.is_a?(String) }
    ["`#{name}` was not found#{" (#{e.class.name[/\w+\z/]})" unless e.is_a?(Errno::ENOENT)}", false, -1]
  end

  # One line, the first that names an error if there is one.
  def telling(said)
    lines = said.scrub.gsub("#{@folder}/", "").lines.map(&:strip).reject(&:empty?)
    lines.find { |line| line.match?(/\berror\b/i) } || lines.first || "it failed without a word"
  end
end

if $PROGRAM_NAME == __FILE__
  missing = BuildRequirements.new.missing
  puts BuildAdvice.new(missing, manager: "apt-get").lines
  exit missing.empty?
end
