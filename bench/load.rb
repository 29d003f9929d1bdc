# frozen_string_literal: true

module Bench
  # Makes calls for a while and measures them. All peers share this code.
  module Load
    class << self
      # @param peer [#call, #start_call]
      # @param seconds [Numeric] the time in which new calls are begun
      # @param bytes [Integer] size of the content
      # @param threads [Integer] threads that call one after the other
      # @param in_flight [Integer, nil] calls kept under way from one thread, instead of threads
      # @return [Hash] calls, seconds, and percentiles of the latency in us
      def run(peer, seconds:, bytes:, threads: 1, in_flight: nil)
        content = "x" * bytes
        latencies = nil
        began = now
        finish = began + (seconds * 1e9)
        if in_flight
          latencies = keep_in_flight(peer, content, in_flight, finish)
        else
          # A lone caller runs in this thread, so that it shares the VM with no second one.
          workers = Array.new(threads - 1) { Thread.new { call_until(peer, content, finish) } }
          latencies = call_until(peer, content, finish) + workers.flat_map(&:value)
        end
        { calls: latencies.size, seconds: (now - began) / 1e9 }.merge(percentiles(latencies))
      end

      private

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
      end

      def call_until(peer, content, finish)
        latencies = []
        begun = now
        while begun < finish
          check(peer.call(content), content)
          ended = now
          latencies << (ended - begun)
          begun = ended
        end
        latencies
      end

      def keep_in_flight(peer, content, count, finish)
        latencies = []
        calls = Array.new(count) { [now, peer.start_call(content)] }
        until calls.empty?
          begun, call = calls.shift
          check(call.value, content)
          ended = now
          latencies << (ended - begun)
          calls << [ended, peer.start_call(content)] if ended < finish
        end
        latencies
      end

      def check(answer, content)
        raise "a wrong answer: #{answer.inspect[0, 100]}" unless answer == content
      end

      def percentiles(latencies)
        sorted = latencies.sort
        %w[50 95 99].to_h { |rank| [:"p#{rank}_us", sorted[(sorted.size - 1) * rank.to_i / 100] / 1000.0] }
      end
    end
  end
end
