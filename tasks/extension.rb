# frozen_string_literal: true

require "fileutils"
require "open3"
require "rbconfig"
require_relative "../lib/redis_ipc/library"

# Compiles the extension for one Ruby. Cargo does not notice that the Ruby changed, and would keep what it built for the
# last one. So target/ belongs to the first Ruby that compiles here, and others have folders of their own in it.
class Extension
  ROOT = File.expand_path("..", __dir__)
  private_constant :ROOT

  # @param ruby [String] a command
  # @param root [String] the checkout
  def initialize(ruby = RbConfig.ruby, root: ROOT)
    @ruby = ruby
    @root = root
    @abi = ruby == RbConfig.ruby ? RedisIPC::Library::ABI : abi_of(ruby)
    raise "#{ruby} does not say what Ruby it is" unless @abi
  end

  # Returns Cargo's folder for this Ruby.
  def target
    shared = File.join(@root, "target")
    File.exist?(owner) && File.read(owner) != @abi ? File.join(shared, @abi) : shared
  end

  # Returns the path at which `require "redis_ipc"` finds the library.
  def library
    File.join(@root, "lib/redis_ipc", @abi, "redis_ipc.so")
  end

  # Returns the version of the ABI, such as "3.3".
  def minor
    @abi[/(\d+\.\d+)[^-]*\z/, 1]
  end

  # @return [String] the path of the built library
  def compile(*options)
    own
    command = %w[cargo build --release --locked --package redis_ipc --target-dir] + [target, *options]
    system(environment, *command, chdir: @root, exception: true)
    File.join(target, "release", "libredis_ipc.so")
  end

  # Compiles the library, and installs it at its path.
  def install
    built = compile
    FileUtils.mkdir_p(File.dirname(library))
    # The new file is renamed into place, so that a process that has loaded the old one keeps it.
    FileUtils.cp(built, "#{library}.new")
    File.rename("#{library}.new", library)
  end

  private

  def owner
    File.join(@root, "target/ruby")
  end

  def own
    return if File.exist?(owner)

    FileUtils.mkdir_p(File.dirname(owner))
    File.write(owner, @abi)
  end

  # rb-sys asks the first Ruby on the PATH, unless RUBY names another. It is set only if it is needed, because Cargo
  # would build anew after each change of it, and other callers of Cargo do not set it.
  def environment
    abi_of("ruby") == @abi ? {} : { "RUBY" => @ruby }
  end

  def abi_of(ruby)
    # RUBYOPT may name files that only this Ruby has (Bundler).
    output, status = Open3.capture2({ "RUBYOPT" => nil }, ruby, "-r#{ROOT}/lib/redis_ipc/library", "-e",
                                    "print RedisIPC::Library::ABI")
    output if status.success?
  rescue Errno::ENOENT
    nil
  end
end
