# frozen_string_literal: true

require "json"
require "time"

# The bill of materials of a platform gem, as CycloneDX 1.5 in JSON. The same crates and libraries give the same text.
class BillOfMaterials
  # @param specification [Gem::Specification] the specification of the platform gem
  # @param crates [LinkedCrates]
  # @param rusts [Array<String>] the versions of Rust whose standard library is in the gem's libraries
  def initialize(specification, crates, rusts:)
    @specification = specification
    @crates = crates
    @rusts = rusts
  end

  # @return [String]
  def to_s
    "#{JSON.pretty_generate(document)}\n"
  end

  private

  def document
    {
      bomFormat: "CycloneDX", specVersion: "1.5", version: 1, metadata: metadata,
      components: @crates.map { |crate| component(crate) } + @rusts.map { |version| standard_library(version) },
      dependencies: dependencies
    }
  end

  # Without SOURCE_DATE_EPOCH there is no time, because it would make each text different.
  def metadata
    epoch = ENV.fetch("SOURCE_DATE_EPOCH", nil)
    { timestamp: epoch && Time.at(Integer(epoch)).utc.iso8601, component: the_gem }.compact
  end

  def the_gem
    purl = "pkg:gem/#{@specification.name}@#{@specification.version}?platform=#{@specification.platform}"
    library(purl, @specification.name, @specification.version.to_s, @specification.license)
  end

  def component(crate)
    described = library(purl(crate.id), crate.name, crate.version, crate.license)
    described[:hashes] = [{ alg: "SHA-256", content: crate.checksum }]
    described[:externalReferences] = [{ type: "vcs", url: crate.repository }] if crate.repository
    described
  end

  # The standard library comes compiled. Only the page of its licences names its crates.
  def standard_library(version)
    library(rust(version), "rust-std", version, "MIT OR Apache-2.0")
  end

  def library(purl, name, version, license)
    { type: "library", "bom-ref": purl, name: name, version: version, licenses: [{ expression: license }], purl: purl }
  end

  def dependencies
    rusts = @rusts.map { |version| rust(version) }
    [{ ref: the_gem[:purl], dependsOn: purls(@crates.direct) + rusts }] +
      @crates.map { |crate| { ref: purl(crate.id), dependsOn: purls(crate.needs) } } +
      rusts.map { |ref| { ref: ref, dependsOn: [] } }
  end

  def purls(ids)
    ids.map { |id| purl(id) }
  end

  def purl(id)
    "pkg:cargo/#{id.gsub("+", "%2B")}"
  end

  def rust(version)
    "pkg:github/rust-lang/rust@#{version}"
  end
end
