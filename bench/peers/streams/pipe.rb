# frozen_string_literal: true

module Bench
  module Peers
    class Streams
      # Sends commands to Redis. The thread that brings a command while no other writes, writes it and all that come
      # meanwhile, one pipeline at a time; so a lone command waits for no other thread. A caller that waits for no reply
      # leaves the writing to a thread.
      class Pipe
        MOST = 512

        def self.connect(port)
          Hiredis::Connection.new.tap do |connection|
            connection.connect("127.0.0.1", port)
            connection.timeout = 20_000_000
          end
        end

        def initialize(port)
          @connection = self.class.connect(port)
          @queue = Queue.new
          @posted = Queue.new
          @writing = Mutex.new
        end

        # @param command [Array]
        # @param done [String, nil] the entry of the inbox that this command answers
        def send(command, done: nil)
          @queue << [command, done]
          write
        end

        # Sends a command as {#send} does, without waiting for Redis.
        def post(command)
          @queue << [command, nil]
          @writer ||= Thread.new { loop { @posted.pop && write } }
          @posted << true if @posted.empty?
        end

        # Writes commands and waits for their replies.
        def run(commands)
          commands.each { |command| @connection.write(command) }
          commands.map { @connection.read }
        end

        private

        def write
          # The writing thread looks at the queue once more after it has released the lock, so no command is left
          # behind.
          until @queue.empty?
            return unless @writing.try_lock

            begin
              write_batch
            ensure
              @writing.unlock
            end
          end
        end

        def write_batch
          batch = []
          batch << @queue.pop until @queue.empty? || batch.size == MOST
          commands = batch.map(&:first)
          done = batch.filter_map(&:last)
          commands.push(["XDEL", INBOX, *done], ["XACK", INBOX, GROUP, *done]) unless done.empty?
          run(commands).each { |reply| raise reply if reply.is_a?(Exception) }
        end
      end
    end
  end
end
