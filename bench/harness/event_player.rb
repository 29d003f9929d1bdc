# frozen_string_literal: true

require "io/wait"
require_relative "../../spec/support/peer_packages"

module Bench
  # Finds and runs the programs that consume events: those in bench/consumers, and the floor.
  module EventPlayer
    CONSUMERS = File.expand_path("../consumers", __dir__)
    # How much longer than its measurement a program may take, in seconds.
    PATIENCE = 60
    # The packages of the programs in Python.
    REQUIREMENTS = Hash.new("requirements.txt").merge("wal.py" => "requirements_wal.txt").freeze

    class << self
      # @param peer [String]
      # @return [Array<String>] the command, which gets its settings as words
      def command(peer)
        return [Player::FLOOR, "consume"] if peer == "floor"

        program, words = program(peer)
        [*interpreter(program), *Settings.format(words).split]
      end

      # @return [String, nil] why it cannot be run here
      def absent(peer)
        return ("it is not built" unless File.exist?(Player::FLOOR)) if peer == "floor"

        program, words = program(peer)
        return ("the gem #{words[:driver]} is missing" unless ruby?(words)) if words[:driver]

        interpreter(program)
        nil
      rescue StandardError => e
        e.message.lines.first.chomp
      end

      # Runs it until it has measured itself.
      # @yield what there is to do when the program is ready, if it says that it is
      # @return [Hash] what {ConsumerFigures} says
      def measure(peer, settings)
        run(peer, settings) do |program|
          yield if block_given? && program.gets == "ready\n"
          line = program.gets if program.wait_readable(settings.fetch(:seconds) + PATIENCE)
          Settings.parse(line.to_s.split).tap do |figures|
            raise "#{peer} has not measured itself: #{line.inspect}" unless figures.key?(:events)
          end
        end
      end

      # Runs it while the block runs, from when it says that it is ready.
      # @yieldparam pid [Integer]
      # @return what the block returns
      def start(peer, settings)
        run(peer, settings) do |program|
          raise "#{peer} is not ready" unless program.wait_readable(PATIENCE) && program.gets == "ready\n"

          yield program.pid
        end
      end

      private

      def run(peer, settings)
        program = IO.popen([*command(peer), *Settings.format(settings).split])
        yield program
      ensure
        Process.kill(:KILL, program.pid)
        program.close
      end

      # @return [Array(String, Hash)] the file and its settings
      def program(peer)
        known = EventCases::LOOPS[peer] || LiveCases::SUBSCRIBERS[peer] || WalPlayer::CONSUMERS[peer]
        return known if known

        executor, size = EventCases::EXECUTORS.fetch(peer)
        ["gem.rb", { executor: executor, size: size }]
      end

      def interpreter(program)
        path = File.join(CONSUMERS, program)
        case File.extname(program)
        when ".py" then [PeerPackages.python(requirements: File.join(CONSUMERS, REQUIREMENTS[program])), path]
        when ".mjs" then ["node", beside_packages(path)]
        else [RbConfig.ruby, "-I#{Player::ROOT}/lib", path]
        end
      end

      # Node looks for packages beside the program.
      def beside_packages(path)
        File.join(PeerPackages.node, "bench_#{File.basename(path)}").tap { |copy| FileUtils.cp(path, copy) }
      end

      def ruby?(words)
        name = words[:driver] == "redis_rb" ? "redis" : words[:driver]
        system(RbConfig.ruby, "-e", "require ARGV.first", name, %i[out err] => File::NULL)
      end
    end
  end
end
