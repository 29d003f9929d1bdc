# frozen_string_literal: true

require "fileutils"
require "open3"
require "rbconfig"
require_relative "../lib/redis_ipc/library"

# The extension, compiled for one Ruby. Cargo does not notice that the Ruby changed, and would keep what it built for
# the last one. So target/ belongs to the Ruby that compiles here first, and others have folders of their own in it.
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

  # Cargo's folder.
  def target
    shared = File.join(@root, "target")
    File.exist?(owner) && File.read(owner) != @abi ? File.join(shared, @abi) : shared
  end

  # Where `require "redis_ipc"` finds the library.
  def library
    File.join(@root, "lib/redis_ipc", @abi, "redis_ipc.so")
  end

  # Such as "3.3".
  def minor
    @abi[/(\d+\.\d+)[^-]*\z/, 1]
  end

  # @return [String] the path of what Cargo built
  def compile(*options)
    own
    command = %w[cargo build --release --locked --package redis_ipc --target-dir] + [target, *options]
    system(environment, *command, chdir: @root, exception: true)
    File.join(target, "release", "libredis_ipc.so")
  end

  # Compiles it, and puts it where it is found.
  def install
    built = compile
    FileUtils.mkdir_p(File.dirname(library))
    # Renamed into place: a process that has the old one loaded keeps it.
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

  # rb-sys asks the first Ruby on the PATH, unless it is told of one. Told without need, it would build anew: what else
  # calls Cargo here does not tell it.
  def environment
    abi_of("ruby") == @abi ? {} : { "RUBY" => @ruby }
  end

  def abi_of(ruby)
    # RUBYOPT may name what is only in this one (Bundler).
    output, status = Open3.capture2({ "RUBYOPT" => nil }, ruby, "-r#{ROOT}/lib/redis_ipc/library", "-e",
                                    "print RedisIPC::Library::ABI")
    output if status.success?
  rescue Errno::ENOENT
    nil
  end
end
