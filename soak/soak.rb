# frozen_string_literal: true

# What all soaks share.
module Soak
  private

  # Prints what is wrong. Returns the status with which the process ends.
  def conclude(wrong)
    puts wrong.empty? ? "all is well" : wrong.map { |problem| "PROBLEM: #{problem}" }
    wrong.empty? ? 0 : 1
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
