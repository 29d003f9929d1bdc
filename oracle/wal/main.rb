# frozen_string_literal: true

require "securerandom"
require "timeout"
require_relative "../../spec/support/database_cluster"
require_relative "trial"

# The command: runs trials, and prints the result.
class WalOracleCommand
  SETTINGS = { "wal_level" => "logical", "wal_sender_timeout" => "1500ms" }.freeze
  # Of one trial.
  ROUNDS = 60

  # @param arguments [Array<String>] seed and minutes, both optional
  def initialize(arguments)
    @seed = Integer(arguments.fetch(0) { Random.rand(1_000_000) })
    @minutes = Float(arguments.fetch(1, 5))
  end

  # @return [Boolean] whether the events were right
  def run
    missing = Databases::Cluster.missing and return puts(missing)

    puts "seed #{@seed}, #{@minutes} minutes: bin/oracle wal #{@seed} has the same transactions"
    deadline = now + (@minutes * 60)
    $stdout.sync = true
    on_a_cluster { |cluster| (@seed..).lazy.take_while { now < deadline }.all? { |seed| try(seed, cluster) } }
  end

  private

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def on_a_cluster
    cluster = Databases::Cluster.new(SETTINGS)
    yield cluster
  ensure
    cluster&.stop
  end

  def try(seed, cluster)
    cluster.query("CREATE DATABASE trial_#{seed}")
    trial = Oracle::Wal::Trial.new(seed, { host: cluster.folder, user: "spec", dbname: "trial_#{seed}" })
    failures = trial.run { |rounds| rounds < ROUNDS }
    puts "seed #{seed}: #{trial.figures.sort.map { |what, count| "#{count} #{what}" }.join(", ")}"
    puts(*failures.map { |failure| "NOT AS PROMISED: #{failure}" })
    cluster.query("DROP DATABASE trial_#{seed}")
    failures.empty?
  end
end

exit(WalOracleCommand.new(ARGV).run ? 0 : 1) if $PROGRAM_NAME == __FILE__
