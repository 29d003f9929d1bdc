# frozen_string_literal: true

require "rbconfig"

module Bench
  # A process of a peer, as the harness sees it: bench/player.rb, or the floor's program.
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

    # Has it make calls, and returns what it measured.
    def run(load)
      @stdin.puts(Settings.format(load))
      Settings.parse(line.split)
    end

    # CPU time of the process so far, in us.
    def cpu_us
      Player.cpu_us(pid)
    end

    # Linux numbers the CPU clock of a process so (clock_getcpuclockid(3)).
    def self.cpu_us(pid)
      Process.clock_gettime((~pid << 3) | 2, :microsecond)
    end

    # Memory in use, in KiB.
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
