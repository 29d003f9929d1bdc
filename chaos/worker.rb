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

    # Tells it to end by itself.
    def finish
      @stdin.puts unless gone?
    rescue Errno::EPIPE
      nil
    end

    # Waits for its end. If that takes too long, kills it and returns false.
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

    # Returns whether its wall clock has jumped, by its journal.
    def clock_stepped?
      File.foreach(journal).any? { |line| line.start_with?("stepped") }
    end

    # Returns its memory in bytes.
    def memory
      File.read("/proc/#{pid}/status")[/VmRSS:\s+(\d+)/, 1]&.to_i&.*(1024)
    rescue SystemCallError
      nil
    end

    # Returns the processor time that it has used, in seconds.
    def cpu
      fields = File.read("/proc/#{pid}/stat").rpartition(")").last.split
      (fields[11].to_i + fields[12].to_i) / TICKS
    rescue SystemCallError
      nil
    end
  end
end
