# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"
require "tempfile"
require "tmpdir"
require_relative "../tasks/third_party"

# The crates that a platform gem lists for its library. spec/gem_spec.rb checks a gem with that list.
RSpec.describe "third parties" do
  root = File.expand_path("..", __dir__)
  let(:specification) { Gem::Specification.load(File.join(root, "redis_ipc.gemspec")) }

  # Cargo is called once.
  before(:context) do
    @crates = LinkedCrates.new
    @packages = packages(root)
  end

  attr_reader :crates

  # Returns what `cargo metadata` knows. That is more than what is linked: it includes what any feature of any package
  # needs.
  # @return [Array<Hash>]
  def packages(root)
    platform = "#{RbConfig::CONFIG["host_cpu"]}-unknown-linux-gnu"
    output, status = Open3.capture2("cargo", "metadata", "--locked", "--format-version", "1",
                                    "--filter-platform", platform, chdir: root)
    raise "cargo metadata failed" unless status.success?

    JSON.parse(output).fetch("packages").select { |package| package.fetch("source") }
  end

  describe "the crates" do
    # The message of a panic contains the path of the source, as Cargo stores it.
    it "are those with code in the library" do
      code = File.binread(RedisIPC::Library.path).scan(%r{/registry/src/[^/]+/([a-z][\w-]*-\d+\.[\w.+-]*)/}).flatten
      expect(code.uniq.size).to be > 10
      expect(crates.map { |crate| "#{crate.name}-#{crate.version}" }).to include(*code)
    end

    it "are not those that only building and testing need" do
      names = crates.map(&:name)
      expect(names).to include("magnus", "rb-sys", "ring", "rustls")
      expect(names & %w[autocfg bindgen cc magnus-macros proptest redis_ipc redis_ipc_core syn]).to be_empty
    end

    it "are described correctly" do
      known = @packages.to_h { |package| [package.values_at("name", "version"), package] }
      expect(crates).to all(satisfy do |crate|
        package = known.fetch([crate.name, crate.version])
        crate.license == package.fetch("license").gsub("/", " OR ") &&
          crate.folder == File.dirname(package.fetch("manifest_path"))
      end)
    end
  end

  describe "a crate inside of the checkout" do
    around { |example| Dir.mktmpdir { |folder| @folder = folder and example.run } }

    # @param license [String] a line of its manifest
    def add_stranger(root, license)
      FileUtils.cp_r(%w[Cargo.toml Cargo.lock ext].map { |name| File.join(root, name) }, @folder)
      FileUtils.mkdir_p(File.join(@folder, "ext/stranger/src"))
      FileUtils.touch(File.join(@folder, "ext/stranger/src/lib.rs"))
      File.write(File.join(@folder, "ext/stranger/Cargo.toml"), <<~TOML)
        [package]
        name = "stranger"
        version = "1.2.3"
        #{license}
      TOML
      core = File.join(@folder, "ext/redis_ipc_core/Cargo.toml")
      needed = %([dependencies]\nstranger = { path = "../stranger" })
      File.write(core, File.read(core).sub("[dependencies]", needed))
      update = %w[cargo update --workspace --offline --quiet]
      system(*update, chdir: @folder, exception: true)
    end

    it "is not passed on as the gem's own" do
      add_stranger(root, 'license = "MIT"')
      expect { LinkedCrates.new(root: @folder) }
        .to raise_error(RuntimeError, /\Astranger@1\.2\.3 has no checksum in Cargo\.lock/)
    end

    it "is refused if it declares no licence" do
      add_stranger(root, "")
      expect { LinkedCrates.new(root: @folder) }.to raise_error(RuntimeError, /\Astranger@1\.2\.3 states no licence/)
    end
  end

  it "are not written for a library that does not tell which Rust compiled it" do
    Tempfile.create("library.so") do |library|
      expect { ThirdParty.new([library.path]).files(specification) }
        .to raise_error(RuntimeError, "#{library.path} names no Rust that compiled it")
    end
  end

  describe "the licence texts" do
    let(:text) { LicenseTexts.new(crates, others: "others.html").to_s }

    it "are there for each crate, each once" do
      sections = text.scan(/^=+\n\[(\d+)\] of\n((?: {4}[^\n]+\n)+)=+\n\n(.+?)(?=\n\n=====|\z)/m)
      expect(sections.map(&:first)).to eq((1..sections.size).map(&:to_s))
      expect(sections.map(&:last).uniq.size).to eq(sections.size)
      crates.each do |crate|
        numbers = text[/^#{Regexp.escape("#{crate}: #{crate.license}")} \[([\d, ]+)\]$/, 1]
        expect(sections.select { |_, users| users.include?("    #{crate} (") }.map(&:first)).to eq(numbers&.split(", "))
      end
    end

    it "are those in the sources, including code that a crate bundles" do
      ring = crates.find { |crate| crate.name == "ring" }
      %w[LICENSE LICENSE-BoringSSL third_party/fiat/LICENSE].each do |file|
        expect(text).to include("#{ring} (#{file})\n", File.read(File.join(ring.folder, file)).strip)
      end
      expect(text).not_to include("#{root}/ext", "#{Dir.home}/")
    end

    it "are not made if one is missing: the crate is named" do
      Dir.mktmpdir do |folder|
        File.write(File.join(folder, "license.rs"), "")
        crate = LinkedCrates::Crate.new(name: "bare", version: "1.2.3", license: "MIT", folder: folder)
        expect { LicenseTexts.new([crate], others: "others.html") }
          .to raise_error(RuntimeError, /\Abare 1\.2\.3 \(MIT\) has no licence file/)
      end
    end
  end

  describe "the bill of materials" do
    def bill(crates = self.crates, rusts: ["1.95.0"])
      JSON.parse(BillOfMaterials.new(specification, crates, rusts: rusts).to_s)
    end

    around do |example|
      epoch = ENV.delete("SOURCE_DATE_EPOCH")
      example.run
    ensure
      ENV["SOURCE_DATE_EPOCH"] = epoch
    end

    # CycloneDX 1.5 forbids unknown properties.
    it "has the structure of CycloneDX 1.5" do
      expect(bill).to match("bomFormat" => "CycloneDX", "specVersion" => "1.5", "version" => 1,
                            "metadata" => { "component" => a_kind_of(Hash) }, "components" => a_kind_of(Array),
                            "dependencies" => a_kind_of(Array))
      components = [bill.dig("metadata", "component"), *bill.fetch("components")]
      expect(components).to all(include("type" => "library", "licenses" => [{ "expression" => a_kind_of(String) }]))
      expect(components.flat_map(&:keys).uniq)
        .to match_array(%w[type bom-ref name version licenses purl hashes externalReferences])
      expect(components.map { |component| component.fetch("bom-ref") }.uniq.size).to eq(components.size)
    end

    it "has each crate with its address and the checksum of Cargo.lock" do
      lock = File.read(File.join(root, "Cargo.lock"))
      found = bill.fetch("components").select { |component| component.fetch("purl").start_with?("pkg:cargo/") }
      expect(found.map { |component| component.fetch("purl") })
        .to eq(crates.map { |crate| "pkg:cargo/#{crate.name}@#{crate.version}" })
      found.each do |component|
        algorithm, checksum = component.fetch("hashes").first.values_at("alg", "content")
        expect(algorithm).to eq("SHA-256")
        expect(lock[/^name = "#{component["name"]}"\nversion = "#{component["version"]}"\n[^\[]+/]).to include(checksum)
      end
    end

    it "has each standard library of Rust that is in a library of the gem" do
      found = bill(rusts: %w[1.94.1 1.95.0]).fetch("components").select { |component| component["name"] == "rust-std" }
      expect(found.map { |component| component.fetch("version") }).to eq(%w[1.94.1 1.95.0])
    end

    it "has the dependencies of each crate, and leaves out none" do
      needs = bill.fetch("dependencies").to_h { |dependency| dependency.values_at("ref", "dependsOn") }
      gem = bill.dig("metadata", "component", "bom-ref")
      expect(needs.fetch(gem))
        .to include(a_string_starting_with("pkg:cargo/magnus@"), "pkg:github/rust-lang/rust@1.95.0")
      reached = [gem]
      reached.each { |ref| reached.concat(needs.fetch(ref) - reached) }
      expect(reached).to match_array([gem, *bill.fetch("components").map { |component| component.fetch("bom-ref") }])
    end

    it "is the same from another checkout" do
      Dir.mktmpdir do |folder|
        FileUtils.cp_r(%w[Cargo.toml Cargo.lock ext].map { |name| File.join(root, name) }, folder)
        expect(bill(LinkedCrates.new(root: folder))).to eq(bill)
      end
    end

    it "has the time of SOURCE_DATE_EPOCH" do
      ENV["SOURCE_DATE_EPOCH"] = "1700000000"
      expect(bill.dig("metadata", "timestamp")).to eq("2023-11-14T22:13:20Z")
    end
  end

  describe "deny.toml" do
    deny = File.read(File.join(root, "deny.toml"))
    allowed = deny[/^allow = \[(.+?)\]/m, 1].scan(/"(.+)"/).flatten

    # @param expression [String] of SPDX
    def allows?(expression, licenses)
      flat = expression.gsub("/", " OR ")
      flat = flat.gsub(/\(([^()]+)\)/) { allows?(Regexp.last_match(1), licenses).to_s } while flat.include?("(")
      flat.split(" OR ").any? { |all| (all.split(" AND ") - ["true", *licenses]).empty? }
    end

    it "is read correctly here" do
      expect(allows?("(A OR B) AND C", %w[B C])).to be(true)
      expect(allows?("(A OR B) AND C", %w[A B])).to be(false)
      expect(allows?("A OR B AND C", %w[B])).to be(false)
      expect(allows?("A WITH exception/B", %w[A])).to be(false)
    end

    it "allows the licences of all crates" do
      refused = @packages.reject { |package| allows?(package.fetch("license"), allowed) }
      expect(refused.map { |package| package.values_at("name", "license") }).to be_empty
    end

    it "allows no licence that no crate needs" do
      spare = allowed.select do |license|
        @packages.all? { |package| allows?(package.fetch("license"), allowed - [license]) }
      end
      expect(spare).to be_empty
    end

    it "lists duplicate crates, and nothing else" do
      double = @packages.group_by { |package| package.fetch("name") }.select { |_, versions| versions.size > 1 }
      expect(deny.scan(/crate = "(.+)@/).flatten).to match_array(double.keys)
    end
  end
end
