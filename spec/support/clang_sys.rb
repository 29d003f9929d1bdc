# frozen_string_literal: true

require "fileutils"
require "open3"

# Runs a program that asks clang-sys what it finds. The build finds libclang through this crate.
module ClangSys
  ROOT = File.expand_path("../..", __dir__)
  FOLDER = File.join(ROOT, "tmp/clang_sys")
  private_constant :ROOT, :FOLDER

  class << self
    # @param environments [Array<Hash>]
    # @return [Array<String, nil>] the path of the library in each environment
    def found(environments)
      environments.map do |environment|
        output, status = Open3.capture2(environment, program, unsetenv_others: true)
        raise "clang-sys cannot be asked" unless status.success?

        output.chomp.then { |path| path unless path.empty? }
      end
    end

    # Compiles the program once, which takes longer than an example may.
    def program
      @program ||= build
    end

    private

    def build
      version = File.read(File.join(ROOT, "Cargo.lock"))[/name = "clang-sys"\nversion = "([^"]+)"/, 1]
      FileUtils.mkdir_p(FOLDER)
      File.write(File.join(FOLDER, "Cargo.toml"), <<~TOML)
        [package]
        name = "found"
        version = "0.1.0"
        edition = "2024"
        [[bin]]
        name = "found"
        path = "main.rs"
        [dependencies]
        clang-sys = { version = "=#{version}", features = ["runtime"] }
        [workspace]
      TOML
      File.write(File.join(FOLDER, "main.rs"), <<~RUST)
        fn main() {
            if let Ok(library) = clang_sys::load_manually() {
                println!("{}", library.path().display());
            }
        }
      RUST
      output, status = Open3.capture2e("cargo", "build", "--quiet", "--target-dir", File.join(FOLDER, "target"),
                                       chdir: FOLDER)
      raise output unless status.success?

      File.join(FOLDER, "target/debug/found")
    end
  end
end
