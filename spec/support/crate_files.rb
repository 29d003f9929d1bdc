# frozen_string_literal: true

require "json"
require "open3"

# Lists the files that Cargo and rustc read in a workspace: the manifests, the files that these name, and their modules.
module CrateFiles
  MODULE = /^\s*(?:#\[path = "([^"]+)"\]\s+)?(?:pub(?:\([\w ]+\))? )?mod (\w+);/
  # rustc looks for their files only when it compiles tests.
  OF_TESTS = /^\s*#\[cfg\(test\)\]\s+(?:#\[[^\n]+\]\s+)*(?:pub )?mod \w+;/
  INCLUDED = /\binclude(?:_str|_bytes)?!\("([^"]+)"\)/

  class << self
    # @return [Array<String>] relative to the workspace
    def of(workspace)
      crates = metadata(workspace).fetch("packages")
      files = crates.flat_map { |crate| [crate.fetch("manifest_path"), *crate_sources(crate)] }
      ["Cargo.toml", "Cargo.lock", *files.map { |file| file.delete_prefix("#{workspace}/") }].uniq
    end

    private

    def metadata(workspace)
      output, errors, status = Open3.capture3("cargo", "metadata", "--no-deps", "--offline", "--format-version", "1",
                                              chdir: workspace)
      raise "cargo metadata failed: #{errors}" unless status.success?

      JSON.parse(output)
    end

    # Returns the sources of a crate. Of examples and tests only those that the manifest names are needed.
    def crate_sources(crate)
      manifest = File.read(crate.fetch("manifest_path"))
      roots = crate.fetch("targets").select do |target|
        target.fetch("kind").any?(/lib/) || manifest.match?(/^name = "#{target.fetch("name")}"$/)
      end
      roots.flat_map { |target| with_modules(target.fetch("src_path"), File.dirname(target.fetch("src_path"))) }
    end

    # @param folder [String] the folder of the modules that the file names
    def with_modules(file, folder)
      text = File.read(file).gsub(OF_TESTS, "")
      beside = File.dirname(file)
      included = text.scan(INCLUDED).map { |(path)| File.expand_path(path, beside) }
      modules = text.scan(MODULE).flat_map do |path, name|
        inside = File.join(folder, name)
        candidates = path ? [File.expand_path(path, beside)] : ["#{inside}.rs", File.join(inside, "mod.rs")]
        with_modules(candidates.find { |candidate| File.exist?(candidate) } || raise("#{file} names #{name}"), inside)
      end
      [file, *included, *modules]
    end
  end
end
