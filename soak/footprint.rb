# frozen_string_literal: true

require "fiddle"
require "tempfile"

# Measures a process at rest: memory in MiB, threads, descriptors.
#
# glibc keeps much of the freed memory, in an arena for each of several threads. `rss` includes that: it rises until
# each arena has seen its most, in any Ruby program of many threads. `used` is the memory that malloc gave out and did
# not get back.
module Footprint
  PARTS = %i[rss used threads files].freeze
  # The most that counts as no growth after the first minute: much for what an allocator keeps, little for what it gave
  # out, and the pool's connections for short commands, which come and go.
  MOST = { rss: ->(first) { (first * 1.5) + 12 }, used: ->(first) { (first * 1.05) + 2 },
           threads: ->(first) { first }, files: ->(first) { first + 3 } }.freeze

  def self.take
    GC.start
    status = File.read("/proc/self/status")
    threads = status[/Threads:\s+(\d+)/, 1].to_i
    PARTS.zip([status[/VmRSS:\s+(\d+)/, 1].to_i / 1024, used, threads, Dir.children("/proc/self/fd").size]).to_h
  end

  # https://man7.org/linux/man-pages/man3/malloc_info.3.html
  def self.used
    totals = malloc_info.rpartition("</heap>").last
    size = ->(what) { totals[/<#{what}[^>]* size="(\d+)"/, 1].to_i }
    free = size['total type="fast"'] + size['total type="rest"']
    (size['system type="current"'] - free + size['total type="mmap"']) / 1024 / 1024
  end

  def self.malloc_info
    Tempfile.create("malloc_info") do |file|
      stream = c_function("fopen", [Fiddle::TYPE_VOIDP] * 2, Fiddle::TYPE_VOIDP).call(file.path, "w")
      c_function("malloc_info", [Fiddle::TYPE_INT, Fiddle::TYPE_VOIDP]).call(0, stream)
      c_function("fclose", [Fiddle::TYPE_VOIDP]).call(stream)
      file.read
    end
  end

  def self.c_function(name, arguments, result = Fiddle::TYPE_INT)
    Fiddle::Function.new(Fiddle.dlopen(nil)[name], arguments, result)
  end

  # Ruby keeps the native threads of ended threads for a few seconds.
  def self.rest
    sleep 5
  end

  def self.at_rest
    rest
    take
  end

  # Takes one that another process reads.
  def self.line
    take.values.join(" ")
  end

  # Reads one of another process.
  def self.parse(line)
    PARTS.zip(line.split.map(&:to_i)).to_h
  end

  # Tells in words what has grown.
  def self.growth(side, first, last)
    grown = MOST.reject { |what, most| last[what] <= most.call(first[what]) }.keys
    grown.map { |what| "#{what} of the #{side} grew from #{first[what]} to #{last[what]}" }
  end
end
