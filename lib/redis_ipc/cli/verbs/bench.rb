# frozen_string_literal: true

require "securerandom"
require_relative "../load"

module RedisIPC
  module CLI
    module Verbs
      # Measures calls between two processes.
      # @api private
      class Bench < Verb
        verb "bench"
        summary "measure how many calls a second there can be"
        about <<~TEXT
          Starts a second process that echoes requests, asks it from this one, and prints calls per second and how long
          a call took: by one thread, which asks again when it is answered, and by several. It uses a stream of its own,
          whose keys are gone afterwards or expire within minutes.
        TEXT
        option :threads, "--threads NUMBER,NUMBER", "how many threads ask (1,16)", type: Array, default: %w[1 16]
        option :seconds, "-t", "--seconds SECONDS", "how long each measurement takes (3)",
               type: Float, default: 3.0, over: 0
        option :size, "--size BYTES", "the size of the content (32)", type: Integer, default: 32, least: 0
        option :handlers, "--handlers NUMBER", "threads that answer (3)", type: Integer, default: 3, least: 1
        option :stream, "-s", "--stream NAME", "the stream, for a user whose ACL rules name one (one of its own)"
        shares :redis, :json
        example "redis_ipc bench", "measures with 1 and 16 threads"
        example "redis_ipc bench --threads 64 --size 10000 --redis redis://10.0.0.1", "measures another Redis"

        TITLES = ["threads", "calls", "calls/s", "mean", "p50", "p95", "p99", "longest"].freeze
        private_constant :TITLES

        def run
          counts = thread_counts
          asking do |asker|
            with_answering_process { show(counts.map { |count| measure(asker, count) }) }
          end
        end

        private

        def thread_counts
          counts = given[:threads].map { |text| Integer(text, 10, exception: false).to_i }
          return counts if counts.any? && counts.all?(&:positive?)

          raise UsageError, "--threads needs numbers over 0, such as 1,16"
        end

        def stream_name
          @stream_name ||= given[:stream] || "redis_ipc:bench:#{SecureRandom.hex(4)}"
        end

        def with_answering_process
          reader, writer = IO.pipe
          # RubyGems keeps a compiled library beside the gem, on the load path.
          libraries = { "RUBYLIB" => $LOAD_PATH.join(File::PATH_SEPARATOR) }
          pid = Process.spawn(libraries, *command, out: File::NULL, err: writer)
          writer.close
          first = reader.gets.to_s
          raise Error, "the answering process said: #{first.strip}" unless first.start_with?("redis_ipc answers")

          yield
        ensure
          stop_process(pid, reader)
        end

        # The same options name the same Redis.
        def command
          script = "require \"redis_ipc/cli\"; exit RedisIPC::CLI.start(ARGV)"
          redis = given[:redis] ? ["--redis", given[:redis].join(",")] : []
          requires = given[:requires].flat_map { |file| ["--require", file] }
          [RbConfig.ruby, "-e", script, "--", "serve", "echo", "--echo", "--quiet", "--stream", stream_name,
           "--threads", given[:handlers].to_s, *redis, *requires]
        end

        def stop_process(pid, reader)
          return unless pid

          Process.kill(:TERM, pid)
          Process.wait(pid)
        rescue Errno::ESRCH
          # It has ended by itself.
        ensure
          reader&.close
        end

        def asking
          asker = RedisIPC::Stream.new(stream_name, "bench")
          asker.on_error { |error| terminal.warn("redis_ipc: #{LogText.line(error.message)}") }
          asker.connect(redis_options: redis_options)
          yield asker
        ensure
          asker&.disconnect
        end

        def measure(asker, threads)
          terminal.progress("#{threads} #{threads == 1 ? "thread" : "threads"}, #{Units.duration(given[:seconds])} ...")
          content = "x" * given[:size]
          load = Load.new(threads) { asker.send_to_group(content: content, to: "echo", timeout: 30).value! }
          # The first calls open connections and start threads.
          load.run([given[:seconds] / 10, 0.2].min)
          load.run(given[:seconds])
        end

        def show(results)
          terminal.progress
          return terminal.json(results.map(&:to_h)) if terminal.json?

          rows = results.map do |result|
            [result.threads, Units.grouped(result.calls), Units.grouped(result.rate.round),
             *[result.mean, *result.percentiles(0.5, 0.95, 0.99), result.longest].map { |one| Units.duration(one) }]
          end
          terminal.say(terminal.table(TITLES, rows))
        end
      end
    end
  end
end
