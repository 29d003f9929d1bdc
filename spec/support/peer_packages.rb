# frozen_string_literal: true

require "digest"
require "fileutils"
require "open3"

# Installs the Redis clients of the examples in other languages from their registries, as a user would; and axe, which
# looks at pages. It does so once for each change of their requirements.
module PeerPackages
  ROOT = File.expand_path("../..", __dir__)
  CACHE = File.join(ROOT, "tmp", "peers")

  class << self
    # Returns the interpreter that has the packages of examples/python, or those of other requirements.
    def python(from = "python3", requirements: example("python", "requirements.txt"))
      # Each version of Python has an environment of its own.
      version = from == "python3" ? "" : "-#{output_of(from, "--version")[/[\d.]+/]}"
      folder = installed("python#{version}", requirements) do |new|
        run(from, "-m", "venv", new)
        run(File.join(new, "bin", "pip"), "install", "--quiet", "--no-input",
            "--requirement", requirements)
      end
      File.join(folder, "bin", "python")
    end

    # Returns the oldest Python that the examples support, if this machine has it as well: by its name, or by pyenv.
    def oldest_python
      ["python3.10", *Dir[File.expand_path("~/.pyenv/versions/3.10.*/bin/python3")]].find do |name|
        output_of(name, "-c", "import sys, venv, ensurepip; print(sys.version_info[:2])").to_s.start_with?("(3, 10)")
      end
    end

    # Returns a copy of examples/node beside its packages, where Node looks for them. It is made once, so that no
    # process that starts finds half of it.
    def node
      @node ||= copied
    end

    # Returns the script of axe-core, which finds what screen readers and keyboards cannot use.
    def axe
      @axe ||= File.read(File.join(npm("axe", File.join(__dir__, "axe")), "node_modules", "axe-core", "axe.min.js"))
    end

    def example(*parts)
      File.join(ROOT, "examples", *parts)
    end

    private

    def copied
      folder = npm("node", example("node"))
      FileUtils.cp(Dir[example("node", "*.mjs")], folder)
      folder
    end

    def npm(name, list)
      installed(name, File.join(list, "package-lock.json")) do |new|
        FileUtils.mkdir_p(new)
        FileUtils.cp(%w[package.json package-lock.json].map { |file| File.join(list, file) }, new)
        run("npm", "ci", "--no-audit", "--no-fund", "--prefix", new)
      end
    end

    # A folder with the completion mark is complete.
    def installed(language, list)
      digest = Digest::SHA256.file(list).hexdigest[0, 16]
      folder = File.join(CACHE, "#{language}-#{digest}")
      done = "#{folder}.done"
      return folder if File.exist?(done)

      FileUtils.rm_rf(folder)
      FileUtils.mkdir_p(CACHE)
      yield folder
      FileUtils.touch(done)
      folder
    end

    def output_of(*command)
      Open3.capture2(*command, err: File::NULL).first
    rescue Errno::ENOENT
      nil
    end

    def run(*command)
      output, status = Open3.capture2e(*command)
      return if status.success?

      raise "the specs need packages from their registries, and `#{command.join(" ")}` failed:\n#{output}"
    rescue Errno::ENOENT
      raise "the specs need #{command.first}: bin/setup installs it, or says how to"
    end
  end
end
