# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # One end of the socket between this process and a thread of a worker process.
        #
        # It belongs to one process. A fork closes its copies of all its parent's ends: with an open copy, nobody would
        # notice the death of the process at the other end.
        # @api private
        class Connection
          @open = {}.compare_by_identity

          class << self
            # @return [Array(Connection, IO)] our end, and the socket for the other process
            def pair
              own, other = UNIXSocket.pair
              [new(own), other]
            end

            # @param file [IO] what a fork must close
            # @return [void]
            def keep(file)
              @open[file] = true
            end

            # @param file [IO]
            # @return [void]
            def forget(file)
              @open.delete(file)
            end

            # Runs in a fork.
            def after_fork
              inherited = @open.keys
              @open = {}.compare_by_identity
              inherited.each(&:close)
            end
          end

          # @param socket [UNIXSocket]
          def initialize(socket)
            @socket = socket
            Connection.keep(socket)
          end

          # @param message [String]
          # @return [Boolean] false if the other end is closed
          def write(message)
            @socket.write([message.bytesize].pack("N"), message)
            true
          rescue IOError, SystemCallError
            false
          end

          # Waits for the next message.
          # @return [String, nil] nil if the other end is closed
          def read
            @socket.wait_readable
            # A thread that is killed in the middle of a message would leave the rest to the thread that comes next.
            Thread.handle_interrupt(Object => :never) { read_message }
          rescue IOError, SystemCallError
            nil
          end

          # @return [Boolean] whether there is something to read; that may be the end of the connection
          def readable?
            !@socket.wait_readable(0).nil?
          rescue IOError
            true
          end

          # Closes this direction. The other end can still write.
          def finish_writing
            @socket.shutdown(Socket::SHUT_WR)
          rescue IOError, SystemCallError
            # It is closed already.
          end

          # Wakes the readers and writers at both ends. What has arrived can still be read.
          def shut_down
            @socket.shutdown
          rescue IOError, SystemCallError
            # It is closed already.
          end

          def close
            Connection.forget(@socket)
            @socket.close
          end

          private

          def read_message
            size = read_bytes(4)&.unpack1("N")
            read_bytes(size) if size
          end

          def read_bytes(count)
            bytes = @socket.read(count)
            bytes if bytes&.bytesize == count
          end
        end
      end
    end
  end
end
