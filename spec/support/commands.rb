# frozen_string_literal: true

require "redis_ipc/cli"
require "stringio"

# Runs the command: in this process, or as a process of its own.
module Commands
  EXECUTABLE = File.expand_path("../../exe/redis_ipc", __dir__)

  # What one run has printed, and its exit status.
  Said = Struct.new(:status, :out, :err) do
    def json
      JSON.parse(out, symbolize_names: true)
    end
  end

  # Runs the command in this process.
  def said(*arguments, input: "")
    streams = [$stdin, $stdout, $stderr]
    $stdin = StringIO.new(input)
    $stdout = StringIO.new
    $stderr = StringIO.new
    status = RedisIPC::CLI.start(arguments)
    Said.new(status, $stdout.string, $stderr.string)
  ensure
    $stdin, $stdout, $stderr = streams
  end

  # Starts the executable. Its standard error is printed, too.
  def command(*arguments, folder: Dir.pwd, **environment)
    run_process("sh", "-c", "cd \"$1\" && shift && exec \"$@\" 2>&1", "sh", folder, RbConfig.ruby,
                "-I#{Processes::LIBRARY}", EXECUTABLE, *arguments, **environment)
  end
end
