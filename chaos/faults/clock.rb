# frozen_string_literal: true

# The wall clock of every process (not of Redis) jumps. Deadlines must not care.
module Chaos::Table
  library = Dir["/usr/lib/*/faketime/libfaketimeMT.so.1"].first
  # Read anew every second of the clock; the file is that of the row.
  steps = File.join(Dir.tmpdir, "redis_ipc_clock_#{Process.pid}")
  faked = { "LD_PRELOAD" => library.to_s, "FAKETIME_TIMESTAMP_FILE" => steps, "FAKETIME_NO_CACHE" => "1",
            "FAKETIME_DONT_FAKE_MONOTONIC" => "1", "FAKETIME_DONT_RESET" => "1" }

  { "an hour ahead" => "+3600s", "an hour back" => "-3600s" }.each do |name, step|
    place = lambda do
      raise Chaos::Scene::Impossible, "libfaketime is missing (Debian: faketime)" unless library

      File.write(steps, "+0")
      Chaos::Place.new
    end
    fault "the processes' clocks step #{name}", place: place, outage: false, environment: faked do
      File.write(steps, step)
      stand 1.5
      impossible "libfaketime had no effect" unless workers.all?(&:clock_stepped?)
    ensure
      FileUtils.rm_f(steps)
    end
  end
end
