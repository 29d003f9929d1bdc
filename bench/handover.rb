# frozen_string_literal: true

# Measures what it costs plain Ruby to hand a call to another thread and its answer back: in one process, without a
# socket or JSON. `ruby bench/handover.rb [threads]`
threads = Integer(ARGV.fetch(0, 64))
calls = 200_000 / threads
asked = Queue.new
Thread.new { loop { asked.pop.push(true) } }

def processor_time
  Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
end

def ask(asked, calls)
  answers = Queue.new
  calls.times do
    asked.push(answers)
    answers.pop
  end
end

before = processor_time
Array.new(threads) { Thread.new { ask(asked, calls) } }.each(&:join)
us = (processor_time - before) * 1e6 / (threads * calls)
puts "#{threads} threads: #{us.round(1)} us of processor time per call"
