# frozen_string_literal: true

require "ripper"
require "tsort"

# Reads from the source code which folder imports which. spec/house_spec.rb says which imports are allowed.
module House
  # One import.
  # @!attribute place [String] the file and the line
  # @!attribute from [String] the folder that imports
  # @!attribute to [String] the folder that is imported
  Import = Struct.new(:place, :from, :to) do
    def to_s
      "#{place}: #{from} imports #{to}"
    end
  end

  # The order of folders. A folder may import the folders that it stands on, and those that these stand on.
  class Order
    include TSort

    # @param stands_on [Hash{String => Array<String>}]
    def initialize(stands_on)
      @stands_on = stands_on
    end

    def folders
      @stands_on.keys
    end

    # @return [Array<Array<String>>] folders that import each other
    def cycles
      each_strongly_connected_component.select { |folders| folders.size > 1 }
    end

    # @return [Array<String>] the imports that point the wrong way, and those of folders that the order does not name
    def wrong(imports)
      imports.reject { |import| import.from == import.to || below(import.from).include?(import.to) }.map(&:to_s)
    end

    private

    def below(folder)
      direct = @stands_on.fetch(folder, [])
      direct | direct.flat_map { |other| below(other) }
    end

    def tsort_each_node(&block)
      @stands_on.each_key(&block)
    end

    def tsort_each_child(folder, &block)
      @stands_on.fetch(folder, []).each(&block)
    end
  end

  # The modules of a crate. The folder of a module is that of its file. A file beside lib.rs is a folder of its own.
  class Crate
    # Matches a path with everything in its braces.
    PATH = /\b(crate|redis_ipc_core)((?:::\w+)*(?:::)?(\{(?:[^{}]|\g<3>)*\})?)/m

    # @param source [String] the folder of lib.rs
    def initialize(source)
      @source = source
    end

    def files
      Dir[File.join(@source, "**/*.rs")].map { |file| file.delete_prefix("#{@source}/") } - ["lib.rs"]
    end

    def folders
      files.map { |file| folder_of(file) }.uniq
    end

    def imports
      files.flat_map { |file| imports_of(file, File.read(File.join(@source, file))) }
    end

    # @param file [String] its path in the crate
    def imports_of(file, text)
      code = text.gsub(%r{//.*}, "")
      raise "#{file}: super::super hides which folder is imported" if code.include?("super::super")

      code.to_enum(:scan, PATH).flat_map do
        found = Regexp.last_match
        place = "#{file}:#{found.pre_match.count("\n") + 1}"
        expand(found[2]).filter_map do |path|
          to = folder_at(found[1], path)
          Import.new(place, folder_of(file), to) if to
        end
      end
    end

    private

    def folder_of(file)
      folder = File.dirname(file)
      folder == "." ? file.delete_suffix(".rs") : folder
    end

    # @param path [Array<String>] the names of modules and of their items
    # @return [String, nil] a folder; of the core one beside its lib.rs ("core/foundation"), nil for items of lib.rs
    def folder_at(crate, path)
      return (File.join("core", path.first) if path.first&.match?(/\A[a-z]/)) unless crate == "crate"

      path.size.downto(1) do |size|
        file = path.first(size).join("/")
        return folder_of("#{file}.rs") if File.file?(File.join(@source, "#{file}.rs"))
        return file if File.directory?(File.join(@source, file))
      end
      nil
    end

    # @return [Array<Array<String>>] `::a::{b, c::d}` is a::b and a::c::d
    def expand(path)
      before, inner = path.match(/\A([^{]*)\{(.*)\}\z/m)&.captures
      return [path.scan(/\w+/)] unless inner

      inner.to_enum(:scan, /(?:[^,{}]|(\{(?:[^{}]|\g<1>)*\}))+/).flat_map do
        expand("#{before}#{Regexp.last_match(0).strip}")
      end
    end
  end

  # The files of lib/redis_ipc: the constants that each defines, and the constants of other files that each names.
  class Library
    # Files outside of folders, because users require them by these names.
    BESIDE = {
      "library" => "runtime", "railtie" => "rails", "rspec" => "testing", "minitest" => "testing"
    }.freeze

    def initialize(source)
      @source = source
    end

    def files
      Dir[File.join(@source, "**/*.rb")].map { |file| file.delete_prefix("#{@source}/") }
    end

    def folders
      files.map { |file| folder_of(file) }.uniq
    end

    def imports
      files.flat_map { |file| imports_of(file, File.read(File.join(@source, file))) }
    end

    # @param file [String] its path in lib/redis_ipc
    def imports_of(file, text)
      constants = Constants.new(text).references.filter_map do |nesting, path, line|
        owner = owner_of(nesting, path, file)
        Import.new("#{file}:#{line}", folder_of(file), folder_of(owner)) if owner
      end
      constants + requires(file, text)
    end

    private

    def folder_of(file)
      folder, rest = file.split("/", 2)
      return folder if rest

      name = file.delete_suffix(".rb")
      BESIDE.fetch(name, name)
    end

    def requires(file, text)
      text.each_line.with_index(1).filter_map do |line, number|
        required = line[/^\s*require_relative "([^"]+)"/, 1] or next
        path = File.expand_path("#{required}.rb", File.dirname(File.join(@source, file)))
        next unless path.start_with?("#{@source}/")

        Import.new("#{file}:#{number}", folder_of(file), folder_of(path.delete_prefix("#{@source}/")))
      end
    end

    # Finds the file of a constant as Ruby would: from the innermost module outwards.
    def owner_of(nesting, path, file)
      nesting.size.downto(0) do |depth|
        path.size.downto(1) do |size|
          found = owners[nesting.first(depth) + path.first(size)] or next
          return (found.first unless found.include?(file))
        end
      end
      nil
    end

    # Returns the files of each constant, without modules that several folders define (RedisIPC).
    def owners
      @owners ||= begin
        found = Hash.new { |all, constant| all[constant] = [] }
        files.each do |file|
          Constants.new(File.read(File.join(@source, file))).definitions.each { |constant| found[constant] |= [file] }
        end
        found.select { |_, files| files.map { |file| folder_of(file) }.uniq.one? }
      end
    end
  end

  # The constants in a Ruby file.
  class Constants
    # @return [Array<Array<String>>]
    attr_reader :definitions

    # @return [Array<Array>] each reference: the modules around it, its path, and its line
    attr_reader :references

    def initialize(text)
      @definitions = []
      @references = []
      walk(Ripper.sexp(text), [])
    end

    private

    def walk(node, nesting)
      return unless node.is_a?(Array)

      case node
      in [:module | :class, name, *rest]
        inside = nesting + path(name).map(&:first)
        @definitions << inside
        rest[0...-1].each { |part| walk(part, nesting) }
        walk(rest.last, inside)
      in [:assign, [:var_field, [:@const, name, _]], value]
        @definitions << (nesting + [name])
        walk(value, nesting)
      in [:const_path_ref | :var_ref | :top_const_ref, *] if path(node)
        names = path(node)
        @references << [top?(node) ? [] : nesting, names.map(&:first), names.first.last]
      else
        node.each { |part| walk(part, nesting) }
      end
    end

    # @return [Boolean] whether the path begins with `::`, so that it is of no module around it
    def top?(node)
      node.first == :const_path_ref ? top?(node[1]) : node.first == :top_const_ref
    end

    # @return [Array<Array>, nil] names and their lines; nil if the node does not consist of constants alone
    def path(node)
      case node
      in [:const_ref | :var_ref | :top_const_ref, [:@const, name, [line, _]]] then [[name, line]]
      in [:const_path_ref, before, [:@const, name, [line, _]]] then path(before)&.push([name, line])
      else nil
      end
    end
  end
end
