# frozen_string_literal: true

# The licence texts of crates in one text: first the crates, then each licence text once.
class LicenseTexts
  # Files that licences ask to be passed on, at any depth: a crate may contain code of others with its licence beside
  # it.
  FILES = %r{(\A|/)(un)?(licen[cs]e|copying|notice|copyright)[^/]*(/[^/]+)?\z}i
  RULE = "=" * 80
  private_constant :FILES, :RULE

  # @param crates [Enumerable<LinkedCrates::Crate>]
  # @param others [String] the name of the file with the licences of Rust's standard library
  # @raise [RuntimeError] if a crate has no licence file
  def initialize(crates, others:)
    @crates = crates
    @others = others
    @texts = Hash.new { |texts, text| texts[text] = [] }
    crates.each { |crate| files(crate).each { |file| @texts[read(crate, file)] << [crate, file] } }
  end

  # @return [String]
  def to_s
    [head, list, *sections].join("\n")
  end

  private

  def head
    <<~TEXT
      redis_ipc is under the MIT licence, see LICENSE. Its compiled library contains the crates below, as they are on
      https://crates.io, under the licences that they state (SPDX expressions), and Rust's standard library, for which
      see #{@others}. The numbers of their texts stand in brackets.
    TEXT
  end

  def list
    numbers = @texts.values.each.with_index(1).flat_map { |users, number| users.map { |crate, _| [crate, number] } }
    numbers = numbers.group_by(&:first).transform_values { |pairs| pairs.map(&:last).uniq }
    @crates.map { |crate| "#{crate}: #{crate.license} #{numbers.fetch(crate)}\n" }.join
  end

  def sections
    @texts.each.with_index(1).map do |(text, users), number|
      users = users.map { |crate, file| "#{crate} (#{file})" }.join("\n    ")
      "#{RULE}\n[#{number}] of\n    #{users}\n#{RULE}\n\n#{text}\n"
    end
  end

  def files(crate)
    files = Dir.glob("**/*", base: crate.folder).grep(FILES).grep_v(/\.rs\z/)
               .select { |file| File.file?(File.join(crate.folder, file)) }.sort
    return files if files.any?

    raise "#{crate} (#{crate.license}) has no licence file in its source, #{crate.folder}, and a gem with it in the " \
          "library must have the text: take a version or a crate that has one"
  end

  def read(crate, file)
    text = File.read(File.join(crate.folder, file), encoding: Encoding::UTF_8)
    text.gsub(/\r\n?/, "\n").gsub(/[ \t]+$/, "").sub(/\A\n+/, "").rstrip
  end
end
