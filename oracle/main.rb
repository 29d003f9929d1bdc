# frozen_string_literal: true

require "optparse"
require_relative "oracle"

# The command: runs a schedule and prints the result.
class OracleCommand
  # @param arguments [Array<String>] seed and minutes, both optional
  def initialize(arguments)
    parser.parse!(arguments)
    @seed = Integer(arguments.fetch(0) { Random.rand(1_000_000) })
    @minutes = Float(arguments.fetch(1, 5))
  end

  # @return [Boolean] whether every promise held
  def run
    return list if @list

    puts "seed #{@seed}, #{@minutes} minutes: bin/oracle #{@seed} #{@minutes} has the same schedule"
    show(Oracle::Run.new(@seed, @minutes * 60).run)
  end

  private

  def parser
    OptionParser.new do |options|
      options.banner = "Usage: bin/oracle [SEED] [MINUTES]"
      options.on("--list", "the schedule of the seed, without running it") { @list = true }
    end
  end

  def list
    Oracle::Schedule::LANES.each do |lane|
      puts "#{lane}:"
      Oracle::Schedule.new(@seed).steps(lane).first(20).each do |step|
        puts "  after #{step.pause.round(1)} s: #{step.fault.name}"
      end
    end
    true
  end

  def show(run)
    names = run.happened.map(&:name).tally.sort
    puts "#{run.happened.size} faults: #{counted(names)}"
    run.figures.each { |name, figures| puts "#{name}: #{counted(figures)}" }
    held = run.failures.empty?
    puts held ? "every promise held" : broken(run)
    held
  end

  def broken(run)
    faults = run.happened.map { |one| "  #{one.began.round(3)} to #{one.ended.round(3)}: #{one.name}" }
    [*faults, *run.told.map { |line| "  #{line}" }, *run.failures.map { |failure| "NOT AS PROMISED: #{failure}" },
     "seed #{@seed} failed"]
  end

  def counted(pairs)
    pairs.map { |what, count| "#{count} #{what}" }.join(", ")
  end
end

exit(OracleCommand.new(ARGV).run ? 0 : 1) if $PROGRAM_NAME == __FILE__
