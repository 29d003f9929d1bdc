# frozen_string_literal: true

require "json"
require "open3"

# The crates that Cargo links into the library on this machine: no procedural macros, and no crates that only building
# or testing needs. `cargo metadata` unites the features of all and would name too many, so the list is that of `cargo
# tree`.
class LinkedCrates
  include Enumerable

  LIBRARY = "redis_ipc"
  # The workspace's crates, by name: Cargo takes any crate inside the checkout for a member of the workspace.
  OWN = [LIBRARY, "redis_ipc_core"].freeze
  CHECKSUM = /^name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(\h{64})"/
  # Matches a line of `cargo tree`: a crate's depth, name and version.
  LEAF = /\A(\d+)(\S+) v(\S+)/
  private_constant :LIBRARY, :OWN, :CHECKSUM, :LEAF

  # `license` is an SPDX expression, `folder` has the source, `checksum` is crates.io's SHA-256, `needs` has other ids.
  Crate = Struct.new(:name, :version, :license, :repository, :folder, :checksum, :needs, keyword_init: true) do
    # @return [String] such as "bytes@1.12.1"
    def id = "#{name}@#{version}"

    def to_s = "#{name} #{version}"
  end

  # @param root [String] the checkout
  # @raise [RuntimeError] if a crate is not from crates.io, or states no licence
  def initialize(root: File.expand_path("..", __dir__))
    @root = root
    @crates = needs.keys.reject { |id| own?(id) }.sort.map { |id| crate(id) }.freeze
  end

  # Yields the crates in the order of their ids.
  def each(&)
    @crates.each(&)
  end

  # @return [Array<String>] the ids of the crates that the gem's own crates need
  def direct
    needs.select { |id, _| own?(id) }.values.flatten.reject { |id| own?(id) }.uniq.sort
  end

  private

  def crate(id)
    package = packages.fetch(id)
    license = package["license"] or raise "#{id} states no licence in its Cargo.toml: look for another crate"
    checksum = checksums[id] or raise "#{id} has no checksum in Cargo.lock: only crates from crates.io are linked in"
    Crate.new(
      # Older crates write "MIT/Apache-2.0" for "MIT OR Apache-2.0".
      license: license.gsub("/", " OR "), checksum: checksum, needs: needs.fetch(id).uniq.sort,
      folder: File.dirname(package.fetch("manifest_path")), **package.slice("name", "version", "repository")
    ).freeze
  end

  def own?(id)
    OWN.include?(id[/\A[^@]+/])
  end

  # @return [Hash{String => Array<String>}] the ids that each crate needs, this workspace's crates included
  def needs
    @needs ||= begin
      branch = []
      tree.each_line.with_object({}) do |line, needs|
        depth, name, version = line.match(LEAF)&.captures || raise("cargo tree says #{line.inspect}")
        branch[depth.to_i..] = id = "#{name}@#{version}"
        needs[id] ||= []
        needs.fetch(branch[-2]) << id if branch.size > 1
      end
    end
  end

  def tree
    cargo("tree", "--package", LIBRARY, "--edges", "normal,no-proc-macro", "--target", platform,
          "--prefix", "depth", "--no-dedupe")
  end

  def packages
    @packages ||= JSON.parse(cargo("metadata", "--filter-platform", platform, "--format-version", "1"))
                      .fetch("packages").to_h { |package| ["#{package["name"]}@#{package["version"]}", package] }
  end

  def checksums
    @checksums ||= File.read(File.join(@root, "Cargo.lock")).scan(CHECKSUM)
                       .to_h { |name, version, checksum| ["#{name}@#{version}", checksum] }
  end

  def platform
    @platform ||= run("rustc", "-vV")[/^host: (.+)/, 1]
  end

  def cargo(command, *options)
    run("cargo", command, "--locked", *options)
  end

  def run(*command)
    output, errors, status = Open3.capture3(*command, chdir: @root)
    raise "#{command.join(" ")} failed: #{errors}" unless status.success?

    output
  end
end
