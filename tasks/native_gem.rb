# frozen_string_literal: true

require "fileutils"
require "rubygems/package"
require_relative "extension"
require_relative "third_party"

# Builds the gem with compiled libraries, one for each Ruby. It needs neither Rust nor a compiler to install.
class NativeGem
  STAGE = "pkg/native"
  # Files that only building needs.
  SOURCES = %r{\A(ext/|Cargo\.)}

  # @param rubies [Array<String>] the commands of the Rubies to compile for
  def initialize(rubies)
    @rubies = rubies
  end

  # Compiles for each Ruby, and packs the gem. Libraries of other Rubies in pkg/native/lib/redis_ipc/X.Y (from other
  # machines, by CI) are included.
  # @return [String] the gem's path
  def build
    @rubies.each { |ruby| compile(ruby) }
    raise "no Ruby to compile for, and no library in #{STAGE}" if versions.empty?

    warn_of_gaps
    specification = platform_specification
    notices = ThirdParty.new(libraries.map { |library| File.join(STAGE, library) }).files(specification)
    specification.files += notices.keys
    specification.metadata = specification.metadata.merge("sbom" => ThirdParty::BILL)
    stage(specification, notices)
    FileUtils.mkdir_p("pkg")
    path = File.expand_path("pkg/#{specification.full_name}.gem")
    Dir.chdir(STAGE) { Gem::Package.build(specification, false, true, path) }
    path
  end

  private

  def compile(ruby)
    extension = Extension.new(ruby)
    library = File.join(STAGE, library_of(extension.minor))
    FileUtils.mkdir_p(File.dirname(library))
    FileUtils.cp(extension.compile, library)
    system("strip", "--strip-unneeded", library, exception: true)
  end

  def library_of(version)
    "lib/redis_ipc/#{version}/redis_ipc.so"
  end

  def versions
    Dir[File.join(STAGE, library_of("*"))].map { |file| File.basename(File.dirname(file)) }
                                          .sort_by { |version| Gem::Version.new(version) }
  end

  def libraries
    versions.map { |version| library_of(version) }
  end

  # Warns of Rubies between the others: RubyGems cannot exclude one, so it would install the gem, which would not load.
  def warn_of_gaps
    first, last = versions.values_at(0, -1).map { |version| version.split(".").map(&:to_i) }
    return unless first[0] == last[0]

    missing = (first[1]..last[1]).map { |minor| "#{first[0]}.#{minor}" } - versions
    warn "No library for Ruby #{missing.join(", ")}: there it installs and does not load" if missing.any?
  end

  def platform_specification
    specification = Gem::Specification.load("redis_ipc.gemspec").dup
    specification.platform = Gem::Platform.local
    specification.extensions = []
    specification.required_ruby_version = [">= #{versions.first}", "< #{next_version(versions.last)}.dev"]
    specification.files = specification.files.grep_v(SOURCES) + libraries
    specification
  end

  def next_version(version)
    major, minor = version.split(".").map(&:to_i)
    "#{major}.#{minor + 1}"
  end

  # @param notices [Hash{String => String}] the texts by path
  def stage(specification, notices)
    wanted = specification.files
    Dir.glob("**/*", base: STAGE).each do |file|
      path = File.join(STAGE, file)
      FileUtils.rm(path) if File.file?(path) && !wanted.include?(file)
    end
    (wanted - libraries - notices.keys).each do |file|
      FileUtils.mkdir_p(File.join(STAGE, File.dirname(file)))
      FileUtils.cp(file, File.join(STAGE, file))
    end
    notices.each { |file, text| File.write(File.join(STAGE, file), text) }
  end
end
