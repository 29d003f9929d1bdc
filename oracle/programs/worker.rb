# frozen_string_literal: true

require_relative "../../chaos/programs/answerer"
require_relative "../../chaos/programs/asker"
require_relative "../../chaos/programs/json_rpc_answerer"
require_relative "../../chaos/programs/json_rpc_asker"

module Oracle
  # One process that runs several programs of bin/chaos. In the end it notes what it has left open.
  class Worker
    def initialize(settings)
      @journal = Chaos::Journal.new(settings[:journal])
      @parts = settings[:parts].map { |own| Object.const_get(own[:program]).new(own) }
    end

    def run
      before = open_things
      parts = @parts.map { |part| Thread.new { part if start(part) } }
      $stdout.puts("ready")
      $stdout.flush
      $stdin.gets
      @stop = true
      parts.filter_map(&:value).map { |part| Thread.new { part.finish } }.each(&:join)
      @journal.left(what_stays(before))
    end

    private

    # Connects a part; Redis may be away at this moment.
    # @return [Boolean] whether it is connected; false if the process was told to end before
    def start(part)
      part.start
      true
    rescue RedisIPC::ConnectionError, RedisIPC::CommandError
      return false if @stop

      sleep 0.1
      retry
    end

    def open_things
      { threads: Dir.children("/proc/self/task").size, descriptors: Dir.children("/proc/self/fd").size }
    end

    # Returns what is still open a while after all has ended.
    def what_stays(before)
      50.times do
        now = open_things
        return {} if now.all? { |what, count| count <= before[what] }

        sleep 0.1
      end
      { before: before, after: open_things, descriptors: descriptors }
    end

    # Returns the open descriptors and their targets.
    def descriptors
      Dir.children("/proc/self/fd").to_h { |number| [number, File.readlink("/proc/self/fd/#{number}")] }
    rescue SystemCallError => e
      e.message
    end
  end
end

Oracle::Worker.new(JSON.parse(ARGV.fetch(0), symbolize_names: true)).run
