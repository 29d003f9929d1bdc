# frozen_string_literal: true

require "etc"

module Bench
  # Describes the machine and the versions of a run.
  module Surroundings
    class << self
      def all
        { "date" => Time.now.utc.strftime("%Y-%m-%d %H:%M UTC"), "CPU" => cpu, "cores" => Etc.nprocessors,
          "kernel" => Etc.uname[:release], "Ruby" => RUBY_DESCRIPTION, "Redis" => version("redis-server", "--version"),
          "Rust" => version("rustc", "--version"), "load before the run" => load,
          "commit" => version("git", "-C", __dir__, "describe", "--always", "--dirty") }.compact
      end

      private

      def cpu
        File.read("/proc/cpuinfo")[/^model name\s*:\s*(.+)$/, 1]
      end

      def load
        File.read("/proc/loadavg").split.first
      end

      def version(*command)
        IO.popen(command, err: :close, &:read).lines.first&.chomp&.sub(/ malloc=.*/, "")
      rescue SystemCallError
        nil
      end
    end
  end
end
