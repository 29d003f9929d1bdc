# frozen_string_literal: true

require_relative "event_program"

module Chaos
  # Publishes numbered events of several keys, in batches without two of one key. After an error it goes on with the
  # next numbers, so that each key's events are published in the order of their numbers. A subclass defines
  # `publish(some, number, index)`: the keys of a batch, the number of their events, and that of the batch.
  class NumberingProgram < EventProgram
    # A user's program would not publish again at once after an error, either.
    PAUSE = 0.02

    def start
      @thread = Thread.new { publish_all }
      @thread.abort_on_exception = true
    end

    def finish
      @stop = true
      @thread.join
    end

    private

    def publish_all
      batches = (0..).lazy.flat_map { |number| keys.each_slice(@settings[:batch]).map { |some| [some, number] } }
      batches.take_while { !@stop }.each_with_index do |(some, number), index|
        publish(some, number, index)
        sleep @settings[:pause]
      end
    end

    def keys
      @keys ||= Array.new(@settings[:keys]) { |index| "#{Process.pid}-#{index}" }
    end
  end
end
