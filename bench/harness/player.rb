# frozen_string_literal: true

require "rbconfig"

module Bench
  # The harness's side of a peer's process: bench/player.rb, or the program of the floor.
  class Player
    ROOT = File.expand_path("../..", __dir__)
    FLOOR = File.join(ROOT, "target/release/examples/floor")
    PATIENCE = 120

    attr_reader :pid, :greeting

    def initialize(peer, role, settings = {})
      @name = "#{peer} #{role}"
      words = Settings.format(settings).split
      command = peer == "floor" ? [FLOOR] : [RbConfig.ruby, "-I#{ROOT}/lib", "#{ROOT}/bench/player.rb", peer]
      input, @stdin = IO.pipe
      @stdout, output = IO.pipe
      @pid = Process.spawn(*command, role, *words, in: input, out: output)
      [input, output].each(&:close)
      @greeting = Settings.parse(line.split.drop(1))
    end

    # Lets it make calls, and returns its figures.
    def run(load)
      @stdin.puts(Settings.format(load))
      Settings.parse(line.split)
    end

    # Returns the CPU time of the process in us.
    def cpu_us
      Player.cpu_us(pid)
    end

    # Reads the CPU clock of a process by the id that Linux gives it (clock_getcpuclockid(3)).
    def self.cpu_us(pid)
      Process.clock_gettime((~pid << 3) | 2, :microsecond)
    end

    # Returns the memory of the process in KiB.
    def rss_kib
      File.read("/proc/#{pid}/smaps_rollup")[/^Rss:\s+(\d+)/, 1].to_i
    end

    def stop
      @stdin.close
      @stdout.close
      return if 100.times.any? { Process.wait(pid, Process::WNOHANG) || (sleep(0.05) && false) }

      Process.kill(:KILL, pid)
      Process.wait(pid)
    end

    private

    def line
      raise "#{@name} said nothing for #{PATIENCE} s" unless @stdout.wait_readable(PATIENCE)

      @stdout.gets&.chomp || raise("#{@name} ended")
    end
  end
end
