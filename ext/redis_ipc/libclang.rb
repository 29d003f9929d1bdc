# frozen_string_literal: true

require "open3"
require "rbconfig"

# The libclang that the build will load. The build asks bindgen, and bindgen asks clang-sys (1.9), whose search this
# class repeats: names, folders, their order, and which of several it takes. spec/setup_spec.rb compares the two.
class Libclang
  NAMES = case RbConfig::CONFIG["host_os"]
          when /darwin/ then %w[libclang.dylib]
          when /linux/ then %w[libclang.so libclang-*.so libclang.so.* libclang-*.so.*]
          else %w[libclang.so libclang.so.*]
          end
  FOLDERS = if RbConfig::CONFIG["host_os"].include?("darwin")
              %w[/usr/local/opt/llvm*/lib/llvm*/lib /Library/Developer/CommandLineTools/usr/lib
                 /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib
                 /usr/local/opt/llvm*/lib]
            else
              %w[/usr/local/llvm*/lib* /usr/local/lib*/*/* /usr/local/lib*/* /usr/local/lib* /usr/lib*/*/* /usr/lib*/*
                 /usr/lib*]
            end
  private_constant :NAMES, :FOLDERS

  def initialize(environment = ENV)
    @environment = environment
  end

  # @return [String, nil] the path of the library
  def path
    candidates.select { |file| loadable?(file) }.max_by { |file| version(File.basename(file)) }
  end

  # Where the `clang` program, if there is one, has its headers: bindgen adds them.
  # @param arguments [Array<String>] those that libclang gets
  # @return [Array<String>]
  def header_folders(arguments)
    clang = program or return []
    _, said, = Open3.capture3(clang, "-E", "-x", "c", "-", "-v", *arguments.grep_v(/\A-I/), stdin_data: "")
    list = said[/#include <\.\.\.> search starts here:\n(.*?)End of search list\./m, 1].to_s
    list.lines.map(&:strip).reject(&:empty?)
  rescue SystemCallError
    []
  end

  private

  def candidates
    given = @environment["LIBCLANG_PATH"]
    return folders.flat_map { |folder| inside(folder) } unless given

    named = inside(File.dirname(given)).find { |file| File.basename(file) == File.basename(given) }
    named ? [named] : inside(given)
  end

  def folders
    prefix = llvm_config("--prefix")
    of_prefix = prefix ? %w[bin lib lib64].map { |name| File.join(prefix, name) } : []
    of_variables = %w[LD_LIBRARY_PATH LIBRARY_PATH].flat_map do |name|
      @environment.fetch(name, "").split(File::PATH_SEPARATOR)
    end
    of_prefix + xcode + of_variables + FOLDERS.flat_map { |pattern| Dir.glob(pattern) }
  end

  # libclang-cpp is another library.
  def inside(folder)
    NAMES.flat_map { |name| Dir.glob(name, base: folder) }
         .reject { |name| name.include?("-cpp.") }
         .map { |name| File.join(folder, name) }
  end

  # Of the other word size, text, or a link to nothing: passed over.
  def loadable?(file)
    return true unless RbConfig::CONFIG["host_os"].match?(/linux|freebsd/)

    magic = File.binread(file, 5)
    magic == "\x7FELF#{["x"].pack("p").bytesize == 8 ? "\x02" : "\x01"}".b
  rescue SystemCallError
    false
  end

  # Of several the highest number counts, and a name without a number is the lowest.
  def version(name)
    return [] unless name.start_with?("libclang.so.", "libclang-")

    numbers = name.start_with?("libclang-") ? name[9..-4] : name.delete_prefix("libclang.so.")
    numbers.split(".").map { |number| number.match?(/\A\+?\d+\z/) ? number.to_i : 0 }
  end

  def program
    given = @environment["CLANG_PATH"]
    return given if given && executable?(given)

    places = [llvm_config("--bindir"), *@environment.fetch("PATH", "").split(File::PATH_SEPARATOR)].compact
    places.each do |place|
      found = %w[clang clang-[0-9]*].filter_map { |name| Dir.glob(name, base: place).first }
                                    .map { |name| File.join(place, name) }
      program = found.find { |file| executable?(file) }
      return program if program
    end
    nil
  end

  def executable?(file)
    File.file?(file) && File.executable?(file)
  end

  def llvm_config(option)
    said(@environment["LLVM_CONFIG_PATH"] || "llvm-config", option)
  end

  def xcode
    return [] unless RbConfig::CONFIG["host_os"].include?("darwin")

    [said("xcode-select", "--print-path")].compact
                                          .map { |path| "#{path}/Toolchains/XcodeDefault.xctoolchain/usr/lib" }
  end

  def said(*command)
    output, status = Open3.capture2(@environment.to_h, *command, err: File::NULL)
    output.lines.first&.chomp if status.success?
  rescue SystemCallError
    nil
  end
end
