# frozen_string_literal: true

require "open3"

module RedisIPC
  module CLI
    # A program that answers requests: it reads the content as JSON from standard input, and writes the answer to
    # standard output.
    # @api private
    class Program
      # What is told of its standard error.
      MOST_TOLD = 1_000
      # Seconds for the rest of its output once it has ended. A process that it left behind may keep that open.
      AFTER = 1
      private_constant :MOST_TOLD, :AFTER

      # What it writes.
      class Output
        # The most bytes that are read.
        MOST = 16_777_216
        PART = 65_536
        private_constant :MOST, :PART

        # @param pipe [IO]
        def initialize(pipe)
          @text = +""
          @reader = Thread.new { read(pipe) }
        end

        # Ends the reading.
        # @param finish [Float] for so long (see {Monotonic}) it is waited for the rest
        # @return [String] what was read until then
        def text(finish)
          @reader.join([finish - Monotonic.now, 0].max)
          @reader.kill.join
          @text
        end

        private

        def read(pipe)
          @text << pipe.readpartial([PART, MOST - @text.bytesize].min) while @text.bytesize < MOST
        rescue EOFError
          # It has written all.
        end
      end
      private_constant :Output

      # @param command [String] a line for the shell
      def initialize(command)
        @command = command
      end

      # Runs it once.
      # @param input [String]
      # @param seconds [Numeric] it is killed if it runs longer
      # @param environment [Hash{String => String}]
      # @return [Array(Boolean, Object)] whether it succeeded, and the answer or the reason
      def run(input, seconds, environment)
        Open3.popen3(environment, "/bin/sh", "-c", @command, pgroup: true) do |stdin, stdout, stderr, process|
          feeder = Thread.new { feed(stdin, input) }
          outputs = [stdout, stderr].map { |output| Output.new(output) }
          ended = process.join(seconds)
          stop(process.pid) unless ended
          feeder.kill
          finish = Monotonic.now + AFTER
          written, told = outputs.map { |output| output.text(finish) }
          ended ? answer(process.value, written, told) : [false, "the program ran longer than the request may wait"]
        end
      end

      private

      def feed(stdin, input)
        stdin.write(input)
        stdin.close
      rescue SystemCallError, IOError
        # It does not read its input.
      end

      # Kills all processes that it has started.
      def stop(pid)
        Process.kill(:KILL, -pid)
      rescue Errno::ESRCH
        # It has just ended.
      end

      def answer(status, written, told)
        return [true, parsed(written)] if status.success?

        told = utf8(told).strip
        [false, "the program #{ending(status)}#{": #{told[-MOST_TOLD..] || told}" unless told.empty?}"]
      end

      # What is no JSON is text.
      def parsed(written)
        JSON.parse(utf8(written))
      rescue JSON::ParserError
        utf8(written).chomp
      end

      def utf8(bytes)
        bytes.dup.force_encoding(Encoding::UTF_8).scrub
      end

      def ending(status)
        status.signaled? ? "was ended by signal #{status.termsig}" : "ended with status #{status.exitstatus}"
      end
    end
  end
end
