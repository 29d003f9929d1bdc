# frozen_string_literal: true

module Chaos
  module Live
    # Publishes numbers, about 1,000 a second, and keeps those that Redis has sent to its subscribers.
    class Publisher
      # @param source [Source]
      # @param pace [Float] seconds between two numbers
      def initialize(source, pace:)
        @source = source
        @numbers = 0
        @sent = {}
        @gone = {}
        @published = []
        @paused = true
        @lock = Mutex.new
        @thread = Thread.new { go_on(pace) until @stopped }
      end

      # Publishes nothing more. What was published before is known then.
      def pause
        @lock.synchronize { @paused = true }
      end

      def resume
        @lock.synchronize { @paused = false }
      end

      # Connects again, to the server that is the right one now. The old one may go on for a while.
      def reconnect
        @lock.synchronize { @source.reset }
      end

      # Publishes one number for each line of the source, while the publisher is paused.
      # @return [Array<Integer>, nil] these, once Redis has sent them; nil if one of them may be lost
      def last
        numbers = Array.new(@source.lines) { one(:mark) }
        numbers if numbers.all?
      end

      # Returns the numbers that Redis has sent since the last call.
      def harvest
        published = @published
        @published = []
        @source.sent(published)
      end

      # Returns when it began to publish a number.
      def sent_at(number)
        @sent.fetch(number)
      end

      # Returns when that was over, by the clock of Redis.
      def gone_at(number)
        @gone.fetch(number)
      end

      def stop
        @stopped = true
        @thread.join
        @source.close
      end

      private

      def go_on(pace)
        @lock.synchronize { one(:publish) unless @paused }
        sleep pace
      end

      # Publishes one number. Returns it once Redis has it.
      def one(how)
        number = (@numbers += 1)
        @sent[number] = Chaos.now
        @source.public_send(how, number)
        @gone[number] = Time.now
        @published << number
        number
      rescue Redis::BaseError, SystemCallError
        # It may have been published: nobody knows, so it counts as neither.
        @source.reset
        sleep 0.02
        nil
      end
    end
  end
end
