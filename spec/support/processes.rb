# frozen_string_literal: true

require "rbconfig"
require "tmpdir"

# Starts real processes, and kills them after the example.
module Processes
  LIBRARY = File.expand_path("../../lib", __dir__)
  # The prelude prints nothing, so that only the script prints what the example waits for.
  PRELUDE = <<~RUBY
    $stdout.sync = true
    require "redis_ipc"
  RUBY

  # A process that exchanges lines with the example.
  class ChildProcess
    attr_reader :pid

    def initialize(environment, *command)
      @input, @stdin = IO.pipe
      @stdout, @output = IO.pipe
      @pid = Process.spawn(environment, *command, in: @input, out: @output)
      [@input, @output].each(&:close)
    end

    # Returns the next line that it prints.
    def line(timeout: 20)
      raise "process #{pid} printed nothing for #{timeout} s" unless @stdout.wait_readable(timeout)

      @stdout.gets&.chomp || raise("process #{pid} ended")
    end

    def puts(text)
      @stdin.puts(text)
    end

    # Closes its input.
    def end_input
      @stdin.close
    end

    def kill(signal = :KILL)
      Process.kill(signal, pid)
    end

    # Returns its exit status.
    def wait(timeout: 20)
      return @status if @status

      @status = Timeout.timeout(timeout) { Process.wait2(pid).last }
    end

    # Returns whether it has ended.
    def ended?
      @status ||= Process.wait2(pid, Process::WNOHANG)&.last
      !@status.nil?
    end

    # Returns everything that it prints until it ends.
    def rest
      @stdout.read
    end

    def stop
      return if @status

      # A stopped process must be continued to die.
      %i[KILL CONT].each { |signal| kill(signal) }
      wait
    ensure
      [@stdin, @stdout].each(&:close)
    end
  end

  # Starts a process that runs the script with REDIS_URL set to the shared server.
  def ruby(script, redis_url: RedisServer.shared.url, **environment)
    command = [RbConfig.ruby, "-I#{LIBRARY}", "-e", PRELUDE + script]
    run_process(*command, redis_url: redis_url, **environment)
  end

  # Writes code to a file in a folder of its own. Yields the environment, the file and the folder to run it in.
  # REDIS_URL points nowhere, so code that needs Redis fails.
  def without_redis(code)
    Dir.mktmpdir do |folder|
      file = File.join(folder, "example_spec.rb")
      File.write(file, code)
      yield({ "REDIS_URL" => "redis://127.0.0.1:1/0", "RUBYLIB" => LIBRARY }, file, folder)
    end
  end

  # Starts a process with REDIS_URL set to the shared server.
  def run_process(*command, redis_url: RedisServer.shared.url, **environment)
    process = ChildProcess.new({ "REDIS_URL" => redis_url }.merge(environment.transform_keys(&:to_s)), *command)
    processes << process
    process
  end

  # Starts a process that answers with the content of the request and with its pid.
  def answering_process(group, options: "", **environment)
    ruby(<<~RUBY, **environment).tap { |process| expect(process.line).to eq("ready") }
      stream = RedisIPC::Stream.new("house", #{group.inspect})
      stream.on_request { |entry| fulfill_request(entry, content: { pid: Process.pid, content: entry.content }) }
      stream.connect(#{options})
      puts "ready"
      $stdin.gets
      stream.disconnect
    RUBY
  end

  def processes
    @processes ||= []
  end

  def stop_processes
    processes.each(&:stop)
    processes.clear
  end
end
