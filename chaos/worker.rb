# frozen_string_literal: true

require "json"
require "rbconfig"

module Chaos
  # A child process that runs one of the programs.
  class Worker
    LIBRARY = File.expand_path("../lib", __dir__)
    PROGRAMS = File.expand_path("programs", __dir__)
    TICKS = 100.0

    attr_reader :pid, :role, :journal

    def initialize(role, journal, settings, program: role, environment: {})
      @role = role
      @journal = journal
      @input, @stdin = IO.pipe
      @stdout, @output = IO.pipe
      arguments = JSON.generate(settings.merge(journal: journal))
      command = [RbConfig.ruby, "-I#{LIBRARY}", File.expand_path("#{program}.rb", PROGRAMS), arguments]
      @pid = Process.spawn(environment, *command, in: @input, out: @output)
      [@input, @output].each(&:close)
    end

    def wait_until_ready
      raise "#{role} #{pid} did not get ready" unless @stdout.wait_readable(30) && @stdout.gets == "ready\n"
    end

    # Asks it to end of itself.
    def finish
      @stdin.puts unless gone?
    rescue Errno::EPIPE
      nil
    end

    # Waits for its end; it is killed when it takes too long, which is told by false.
    def wait(seconds)
      deadline = Chaos.now + seconds
      until gone?
        return stop && false if Chaos.now > deadline

        sleep 0.01
      end
      true
    end

    def kill(signal = :KILL)
      Process.kill(signal, pid)
    end

    def gone?
      @status ||= Process.wait2(pid, Process::WNOHANG)&.last
      !@status.nil?
    end

    def stop
      return true if gone?

      %i[KILL CONT].each { |signal| kill(signal) }
      @status = Process.wait2(pid).last
      true
    ensure
      [@stdin, @stdout].each { |io| io.close unless io.closed? } if @status
    end

    # Whether its wall clock has jumped, by its own account.
    def clock_stepped?
      File.foreach(journal).any? { |line| line.start_with?("stepped") }
    end

    # Bytes of memory it has now.
    def memory
      File.read("/proc/#{pid}/status")[/VmRSS:\s+(\d+)/, 1]&.to_i&.*(1024)
    rescue SystemCallError
      nil
    end

    # Seconds of processor time it has used.
    def cpu
      fields = File.read("/proc/#{pid}/stat").rpartition(")").last.split
      (fields[11].to_i + fields[12].to_i) / TICKS
    rescue SystemCallError
      nil
    end
  end
end
