# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"
require "rbconfig"
require "tmpdir"
require_relative "../ext/redis_ipc/libclang"
require_relative "../tasks/extension"
require_relative "support/clang_sys"

# Simulated machines: programs that come first on the PATH, and folders that variables name. bin/prove-setup has whole
# systems.
RSpec.describe "what building takes", timeout: 300 do
  root = File.expand_path("..", __dir__)

  around { |example| Dir.mktmpdir("redis_ipc_setup") { |folder| @folder = folder and example.run } }

  # Whether the system's packages include a Rust that is new enough.
  def debian_has_rust
    policy, = Open3.capture2e("apt-cache", "policy", "cargo")
    candidate = policy[/Candidate: (\d[\d.]*)/, 1]
    !candidate.nil? && Gem::Version.new(candidate.chomp(".")) >= Gem::Version.new("1.88")
  rescue Errno::ENOENT
    false
  end

  def in_folder(*names)
    File.join(@folder, *names).tap { |path| FileUtils.mkdir_p(File.dirname(path)) }
  end

  # Writes a program that is found before the real one.
  def fake(name, script)
    File.write(in_folder("fake", name), "#!/bin/sh\n#{script}\n")
    FileUtils.chmod(0o755, in_folder("fake", name))
  end

  # Returns the PATH: the fakes come first, and hidden programs are left out.
  def path
    [in_folder("fake"), @tools || ENV.fetch("PATH")].join(File::PATH_SEPARATOR)
  end

  # Hides programs from the PATH.
  def hide(*names)
    @tools = in_folder("tools")
    FileUtils.mkdir_p(@tools)
    ENV.fetch("PATH").split(File::PATH_SEPARATOR).flat_map { |folder| Dir[File.join(folder, "*")] }.each do |file|
      link = File.join(@tools, File.basename(file))
      File.symlink(file, link) unless names.include?(File.basename(file)) || File.symlink?(link)
    end
  end

  def clean
    names = %w[LIBCLANG_PATH CLANG_PATH LLVM_CONFIG_PATH LD_LIBRARY_PATH LIBRARY_PATH REDIS_URL CC RUBY]
    names.to_h { |name| [name, nil] }
  end

  def run(*command, **environment)
    environment = clean.merge("PATH" => path).merge(environment.transform_keys(&:to_s))
    Open3.capture2e(environment, *command)
  end

  # @return [Array<Array<String>>] the package and the description of each
  define_method(:missing) do |**environment|
    output, = run(RbConfig.ruby, "#{root}/ext/redis_ipc/requirements.rb", **environment)
    output.lines.map { |line| line.chomp.split("|", 2) }
  end

  # Builds a shared library for this machine's architecture, with these functions.
  def library(*names, functions: [])
    file = in_folder(*names)
    source = functions.map { |function| "void *#{function}(void) { return 0; }" }.join("\n")
    output, status = Open3.capture2e("cc", "-shared", "-o", file, "-x", "c", "-", stdin_data: "#{source}\n")
    raise output unless status.success?

    file
  end

  it "is all here" do
    expect(missing).to be_empty
  end

  describe "Rust" do
    it "that is too old is missing" do
      fake("cargo", "echo 'cargo 1.85.0 (d73d2caf9 2024-12-31)'")
      expect(missing.first.last).to eq("Rust 1.88 or newer: this is cargo 1.85.0 (d73d2caf9 2024-12-31)")
    end

    it "whose compiler is older than its cargo is missing" do
      fake("old-rustc", "rustc \"$@\" | sed 's/^release: .*/release: 1.63.0/'")
      expect(missing(RUSTC: in_folder("fake", "old-rustc"))).to contain_exactly(
        [debian_has_rust ? "cargo" : "", a_string_including("(1.88 or newer)", "rustc 1.63.0 is not supported by")]
      )
    end

    it "with nothing but rustup is missing" do
      fake("cargo", "echo 'error: rustup could not choose a version of cargo to run' >&2; exit 1")
      expect(missing.first.last).to end_with("error: rustup could not choose a version of cargo to run")
    end

    it "is named with the missing command" do
      hide("cargo")
      expect(missing(HOME: @folder, CARGO_HOME: nil).first.last).to eq("Rust 1.88 or newer: `cargo` was not found")
    end

    it "may be installed but not on the PATH, as under sudo" do
      hide("cargo")
      FileUtils.mkdir_p(in_folder(".cargo/bin"))
      FileUtils.touch(in_folder(".cargo/bin/cargo"))
      FileUtils.chmod(0o755, in_folder(".cargo/bin/cargo"))
      expect(missing(HOME: @folder, CARGO_HOME: nil).first).to eq(
        ["", "Rust 1.88 or newer: `cargo` was not found. It is in #{@folder}/.cargo/bin, which is not on the PATH"]
      )
    end

    it "is the system's own where that is new enough" do
      fake("cargo", "exit 1")
      fake("apt-cache", "echo '  Candidate: 1.92.0+dfsg1-2'")
      expect(missing.first.first).to eq("cargo")
      fake("apt-cache", "echo '  Candidate: 1.85.0+dfsg3-1'")
      expect(missing.first.first).to eq("")
    end

    it "that cannot link is missing" do
      # This is Cargo's own setting, which a search for `cc` would miss.
      expect(missing("CARGO_TARGET_#{rust_host}_LINKER": "no-such-linker")).to contain_exactly(
        ["build-essential", a_string_including("compiles and links", "no-such-linker")]
      )
    end

    def rust_host
      `rustc -vV`[/^host: (.+)/, 1].upcase.tr("-", "_")
    end
  end

  describe "the C compiler" do
    it "without the C library's headers is missing" do
      fake("cc", '[ "$*" = --version ] || { echo "x.c:5:10: fatal error: dlfcn.h: No such file" >&2; exit 1; }')
      expect(missing.first).to match(["build-essential", /C compiler.*: x\.c:5:10: fatal error: dlfcn\.h/])
    end

    it "that is not installed is missing" do
      expect(missing(CC: "nocc").map(&:last)).to include(/C compiler and linker.*: `nocc` was not found/)
    end
  end

  describe "libclang" do
    before(:all) { ClangSys.program }
    # Checking Rust takes longest, and belongs to another part.
    before { fake("cargo", "echo cargo 9.0.0") }

    def libclang(**environment)
      missing(**environment).find { |_, text| text.start_with?("libclang") }
    end

    it "is not LLVM's C++ library" do
      library("lib", "libclang-cpp.so.14")
      library("lib", "libclang-cpp.so")
      expect(libclang(LIBCLANG_PATH: in_folder("lib"))).to match(["", /is neither a libclang nor a folder with one/])
    end

    it "is not whatever LIBCLANG_PATH names" do
      expect(libclang(LIBCLANG_PATH: "/nowhere").last).to include("LIBCLANG_PATH=/nowhere", "Without that variable /")
    end

    it "must be loadable" do
      library("lib", "libclang.so")
      expect(libclang(LIBCLANG_PATH: in_folder("lib")).last).to include("lib/libclang.so cannot be loaded")
    end

    it "must be 9 or newer" do
      library("lib", "libclang.so.7", functions: %w[clang_createIndex clang_parseTranslationUnit clang_getDiagnostic
                                                    clang_getNumDiagnostics clang_getDiagnosticSeverity])
      expect(libclang(LIBCLANG_PATH: in_folder("lib"))).to match(["libclang-dev", /libclang\.so\.7 is older/])
    end

    # This is the state if only Debian's libclang1-19 is installed. (bin/prove-setup has whole systems with that.)
    it "needs its own headers" do
      package, text = libclang(BINDGEN_EXTRA_CLANG_ARGS: "-nobuiltininc")
      expect(package).to match(/\Alibclang(-\d+)?-dev\z/)
      expect(text).to match(/cannot read Ruby's headers .*'stdarg\.h'/)
    end

    # The build searches with clang-sys. libclang.rb only repeats that search.
    it "is the one that clang-sys takes" do
      ours = library("one", "libclang.so")
      older = library("many", "libclang-9.so.1")
      newer = library("many", "libclang-19.so.1")
      library("many", "libclang.so.5")
      library("many", "libclang-cpp.so.20")
      library("many", "libclang-cpp-20.so")
      File.write(in_folder("text", "libclang.so"), "not a library")
      File.symlink("/nowhere", in_folder("text", "libclang.so.9"))
      library("prefix", "lib", "libclang.so.99")
      fake("llvm-config", "echo #{in_folder("prefix")}")

      machines = [
        {}, { LIBCLANG_PATH: ours }, { LIBCLANG_PATH: File.dirname(ours) }, { LIBCLANG_PATH: "#{File.dirname(ours)}/" },
        { LIBCLANG_PATH: older }, { LIBCLANG_PATH: File.dirname(newer) }, { LIBCLANG_PATH: in_folder("text") },
        { LIBCLANG_PATH: in_folder("text", "libclang.so") }, { LIBCLANG_PATH: "/nowhere" },
        { LIBCLANG_PATH: in_folder("many", "libclang-cpp.so.20") }, { LD_LIBRARY_PATH: File.dirname(newer) },
        { LIBRARY_PATH: File.dirname(newer) }, { LLVM_CONFIG_PATH: "/bin/false" }
      ]
      found = machines.map { |machine| Libclang.new(environment(machine)).path }
      expect(found).to eq(ClangSys.found(machines.map { |machine| environment(machine) }))
      expect(found.values_at(1, 5, 6)).to eq([ours, newer, nil])
    end

    def environment(variables)
      ENV.to_h.merge(clean).compact.merge("PATH" => path).merge(variables.transform_keys(&:to_s))
    end
  end

  # A check that fails although the build would succeed must block nothing.
  describe "a machine on which building works is not refused" do
    # This is what `gem install` runs, which checks more.
    define_method(:refusals) do |**environment|
      output, = run(RbConfig.ruby, "-r", "#{root}/ext/redis_ipc/requirements.rb", "-e",
                    "requirements = BuildRequirements.new(for_gem: true)
                     puts requirements.missing.map { |each| %(missing \#{each}) }, requirements.doubts.map(&:what)",
                    **environment)
      output.lines.map(&:chomp).grep_v(/LD_PRELOAD/)
    end

    it "if programs print more than expected, and make does not know --version" do
      folder = ENV.fetch("PATH").split(":").find { |each| File.executable?(File.join(each, "cargo")) }
      real = File.join(folder, "cargo")
      fake("cargo", "echo \"info: syncing channel updates for '1.75.0'\" >&2; exec #{real} \"$@\"")
      fake("bsd-make", "exit 2")
      file = Libclang.new.path
      expect(refusals(LD_PRELOAD: "/nowhere.so", MAKE: "bsd-make", LIBCLANG_PATH: file, HOME: nil)).to be_empty
    end

    it "if Cargo has another linker configured, and the C compiler only seems to be missing" do
      fake("cc", "echo 'cc: error: not for you' >&2; exit 1")
      host = `rustc -vV`[/^host: (.+)/, 1].upcase.tr("-", "_")
      output, = run(RbConfig.ruby, "#{root}/ext/redis_ipc/requirements.rb", "CARGO_TARGET_#{host}_LINKER": "gcc")
      expect(output.lines).to contain_exactly(/\AThis may be missing: a C compiler .*: cc: error: not for you/)
    end

    it "if libclang is in a folder of its own and variables name its headers" do
      fake("cargo", "echo cargo 9.0.0")
      headers = Libclang.new.header_folders([]).first || Dir["/usr/lib/llvm-*/lib/clang/*/include"].max
      FileUtils.mkdir_p(in_folder("store", "lib"))
      FileUtils.cp(File.realpath(Libclang.new.path), in_folder("store", "lib", "libclang.so.1"))
      machine = { LIBCLANG_PATH: in_folder("store", "lib"), BINDGEN_EXTRA_CLANG_ARGS: "-isystem #{headers}" }
      expect(missing(**machine)).to be_empty
    end

    it "if variables redirect the build" do
      expect(refusals(CARGO_BUILD_TARGET: "no-such-target", LIBCLANG_PATH: "/nowhere", CC: "nocc")).to contain_exactly(
        /a C compiler/, /a Rust toolchain/, /libclang/
      )
    end

    it "if the checks cannot run" do
      fake("cargo", "echo cargo 9.0.0")
      expect(refusals(CC: "'unmatched")).to eq(["the check of compiler"])
    end
  end

  it "includes that `ruby` is the Ruby that builds" do
    fake("ruby", "echo '2.7.0 x86_64-linux'")
    expect(missing.map(&:last)).to include(/`ruby` that is this Ruby .*2\.7\.0 x86_64-linux\. Set RUBY=/)
  end

  describe "gem install" do
    before(:all) do
      @gems = Dir.mktmpdir("redis_ipc_gem")
      system("gem", "build", "--silent", "redis_ipc.gemspec", "--output", "#{@gems}/redis_ipc.gem",
             chdir: File.expand_path("..", __dir__), exception: true)
    end
    after(:all) { FileUtils.remove_entry(@gems) }

    # Returns the output without RubyGems' own three lines and its name for what failed.
    def said(**environment)
      output, status = run("gem", "install", "--local", "--no-document", "--install-dir", in_folder("gems"),
                           "#{@gems}/redis_ipc.gem", **environment)
      expect(status).not_to be_success
      output.lines.map(&:strip).reject(&:empty?).grep_v(/\AGem files will|\AResults logged|\Aextconf failed/)
    end

    it "says at its end how to get Rust" do
      hide("cargo", "rustc")
      last = said(HOME: @folder, CARGO_HOME: nil).last(4)
      expect(last).to match([/this machine lacks/, "Rust 1.88 or newer: `cargo` was not found",
                             "What to run before you install it again:",
                             debian_has_rust ? "apt-get install -y cargo" : /\Acurl .*rustup/])
    end

    it "says at its end how to make the installed Rust found" do
      hide("cargo", "rustc")
      FileUtils.mkdir_p(in_folder(".cargo/bin"))
      File.write(in_folder(".cargo/bin/cargo"), "")
      FileUtils.chmod(0o755, in_folder(".cargo/bin/cargo"))
      machine = { HOME: @folder, CARGO_HOME: nil }
      expect(said(SUDO_USER: nil, **machine).last).to eq(%(export PATH="#{@folder}/.cargo/bin:$PATH"))
      # sudo would reset the PATH.
      expect(said(SUDO_USER: "nobody", **machine).last).to end_with("/.cargo/bin, which is not on the PATH")
    end

    it "says at its end how to get a compiler" do
      fake("apt-get", "exit 1")
      hide("make")
      expect(said(CC: "nocc").last).to match(/\A(sudo )?apt-get install -y build-essential\z/)
    end

    it "says at its end what is wrong with LIBCLANG_PATH" do
      expect(said(LIBCLANG_PATH: "/nowhere").last).to match(%r{LIBCLANG_PATH=/nowhere is neither})
    end
  end

  describe "bin/setup" do
    define_method(:look) { |*options, **environment| run("#{root}/bin/setup", "--look", *options, **environment).first }

    it "finds everything here", gem: "rails" do
      expect(look).to be_empty
    end

    it "takes Valkey, or the Redis that REDIS_URL names" do
      fake("redis-server", "exit 127")
      fake("valkey-server", "exit 127")
      expect(look("--to-run")).to include("redis-server or valkey-server", "apt-get install redis-server")
      expect(look("--to-run", REDIS_URL: "redis://elsewhere")).to be_empty
      fake("valkey-server", "echo 'Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64'")
      expect(look("--to-run")).to be_empty
    end

    it "asks programs for their identity" do
      fake("redis-server", "echo 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'")
      fake("valkey-server", "exit 127")
      fake("python3", "exit 1")
      fake("node", "echo v16.20.0")
      expect(look.lines.map(&:strip)).to include(/redis-server or valkey-server/, /Python 3\.10/, /Node 18/)
    end

    it "says which Rust it wants, and has" do
      fake("cargo", "echo cargo 1.85.0")
      expect(look).to start_with("Missing: Rust 1.88 or newer (found: 1.85.0). Get it from https://rustup.rs")
    end
  end

  describe "the folder of Cargo's" do
    it "is a different one for another Ruby" do
      fake("other-ruby", "printf x86_64-linux-9.9.0")
      this = Extension.new(root: @folder)
      other = Extension.new(in_folder("fake", "other-ruby"), root: @folder)
      expect([this, other].map(&:target)).to all(eq(in_folder("target")))
      File.write(in_folder("target", "ruby"), RedisIPC::Library::ABI)
      expect(this.target).to eq(in_folder("target"))
      expect(other).to have_attributes(target: in_folder("target", "x86_64-linux-9.9.0"), minor: "9.9")
      expect(other.library).not_to eq(this.library)
    end
  end
end
