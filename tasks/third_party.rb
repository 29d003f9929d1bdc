# frozen_string_literal: true

require "open3"
require_relative "bill_of_materials"
require_relative "license_texts"
require_relative "linked_crates"

# Makes what a platform gem tells of other people's work in its libraries: licence texts and a bill of materials.
class ThirdParty
  LICENSES = "THIRD-PARTY-LICENSES.txt"
  # The page that comes with Rust, unchanged.
  RUST_LICENSES = "THIRD-PARTY-LICENSES-rust.html"
  BILL = "sbom.cdx.json"

  # @param libraries [Array<String>] the paths of the compiled libraries
  def initialize(libraries)
    @libraries = libraries
    @crates = LinkedCrates.new
  end

  # @param specification [Gem::Specification] the specification of the gem
  # @return [Hash{String => String}] the texts by path in the gem
  def files(specification)
    {
      LICENSES => LicenseTexts.new(@crates, others: RUST_LICENSES).to_s,
      RUST_LICENSES => rust_licenses,
      BILL => BillOfMaterials.new(specification, @crates, rusts: rusts).to_s
    }
  end

  private

  # Returns the versions of Rust in the libraries. A library from another machine may have another version.
  def rusts
    found = @libraries.map do |library|
      File.binread(library)[/rustc version (\d+\.\d+\.\d+)/, 1] or raise "#{library} names no Rust that compiled it"
    end
    found.uniq.sort
  end

  def rust_licenses
    sysroot, status = Open3.capture2("rustc", "--print", "sysroot")
    raise "rustc does not say where it is installed" unless status.success?

    page = File.join(sysroot.chomp, "share/doc/rust/COPYRIGHT-library.html")
    return File.read(page, encoding: Encoding::UTF_8) if File.exist?(page)

    raise "This Rust came without the licences of its standard library (#{page}), and a gem with a compiled library " \
          "must have them: install Rust with rustup"
  end
end
