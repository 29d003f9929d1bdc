# frozen_string_literal: true

# What to do about what BuildRequirements misses, in this system's own commands.
class BuildAdvice
  MANAGERS = {
    "apt-get" => { install: "apt-get install -y", compiler: "build-essential", libclang: "libclang-dev",
                   ruby: "ruby-dev" },
    "dnf" => { install: "dnf install -y", compiler: "gcc make", libclang: "clang-devel", ruby: "ruby-devel" },
    # rustup's Rust does not do there: its build scripts are static programs, which cannot load libclang.
    "apk" => { install: "apk add", compiler: "build-base", libclang: "clang-dev", ruby: "ruby-dev", rust: "cargo" },
    "brew" => { install: "brew install", libclang: "llvm", rust: "rust" }
  }.freeze
  ANYWHERE = { compiler: "a C compiler, its linker and make", libclang: "libclang", ruby: "Ruby's headers" }.freeze
  RUSTUP = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal && " \
           ". \"$HOME/.cargo/env\""
  private_constant :MANAGERS, :ANYWHERE, :RUSTUP

  # @return [String, nil] this system's package manager
  def self.manager
    folders = ENV.fetch("PATH", "").split(File::PATH_SEPARATOR)
    MANAGERS.keys.find { |name| folders.any? { |folder| File.executable?(File.join(folder, name)) } }
  end

  # @param missing [Array<BuildRequirements::Missing>]
  def initialize(missing, manager: self.class.manager)
    @missing = missing
    @manager = manager
  end

  # @return [String] the end of a failed `gem install`: what to do comes last
  def to_s
    said = "redis_ipc is compiled when it is installed, and this machine lacks what that takes (if it does not, " \
           "REDIS_IPC_CHECK=no has it built unchecked):\n#{list}\n"
    commands.empty? ? said : "#{said}What to run before you install it again:\n#{indent(commands)}\n"
  end

  # @return [Array<String>] for bin/setup: the package for each (empty where no package helps), and what is missing
  def lines
    @missing.map { |each| "#{package(each)}|#{each.to_s.tr("|", "/")}" }
  end

  private

  def list
    indent(@missing.map(&:to_s))
  end

  def indent(lines)
    lines.map { |line| "  #{line}" }.join("\n")
  end

  def commands
    packages = @missing.filter_map { |each| package(each) }.uniq
    parts = @missing.map(&:part)
    rust = parts.include?(:rust) && !packages.include?(names[:rust])
    [(install(packages) if packages.any?), (RUSTUP if rust), *@missing.filter_map(&:command)].compact
  end

  def install(packages)
    return "your system's packages for: #{packages.join("; ")}" unless @manager

    sudo = "sudo " unless Process.euid.zero? || @manager == "brew"
    "#{sudo}#{names[:install]} #{packages.join(" ")}"
  end

  def package(missing)
    return unless missing.part

    (missing.package if @manager == "apt-get") || names[missing.part]
  end

  def names
    @names ||= @manager == "apt-get" ? { **MANAGERS[@manager], rust: debian_rust } : MANAGERS.fetch(@manager, ANYWHERE)
  end

  # Debian's own Rust, where it is new enough.
  def debian_rust
    wanted = Gem::Version.new(BuildRequirements::RUST)
    candidate = `apt-cache policy cargo 2>/dev/null`[/Candidate: (\d+\.\d+(\.\d+)?)/, 1]
    "cargo" if candidate && Gem::Version.new(candidate) >= wanted
  end
end
