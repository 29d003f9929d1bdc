# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # The protocol between a process and its worker processes. Events go to the worker, and verdicts come back. Each
        # message is its length (4 bytes) and then that many bytes. Numbers are big-endian.
        #
        # A message with events has their number (4 bytes). For each event it has the length of its id (4) and the id,
        # the number of deliveries (4), when it was received (8, in ms), whether it may have run (1), its fence and the
        # hash of its key (8 each, 0 without an order), its lane (4), the length of its server's address (4) and the
        # address, and the number of its fields (4); for each name and value the length (4) and the bytes.
        #
        # A verdict has a letter and the places of events in their message (4 each). The letters:
        #
        # - `D`: they are done.
        # - `S`: they were done before.
        # - `G`: they are given back.
        # - `F`: a database has refused them.
        # - `R`: one event is tried again after some seconds (8, a double).
        # - `B`: one event is given up on, for a reason (the rest).
        # - `E`: no other verdict follows. It is sent only if there are events without one.
        # @api private
        module Wire
          DONE = "D"
          RETRY = "R"
          BURY = "B"
          BACK = "G"
          SKIP = "S"
          REFUSE = "F"
          ENDED = "E"

          # An event in a worker process.
          # @!attribute place [Integer] its place in the message
          Event = Struct.new(:id, :deliveries, :received_ms, :redelivered, :fence, :key_hash, :lane, :node, :fields,
                             :place) do
            include EntryFields

            # @return [Integer] the milliseconds of its id
            def ms
              id.to_i
            end

            # @return [Boolean]
            def redelivered?
              redelivered
            end
          end

          class << self
            # @param natives [Array<Native::StreamEvent>]
            # @return [String]
            def events(natives)
              natives.each_with_object([natives.size].pack("N")) { |native, message| add(message, native) }
            end

            # @param message [String]
            # @return [Array<Event>] frozen ones
            def read_events(message)
              reader = Reader.new(message)
              Array.new(reader.number) { |place| read_event(reader, place) }
            end

            # @param events [Array<Event>]
            # @return [String]
            def done(events)
              [DONE, *events.map(&:place)].pack("aN*")
            end

            # (see done)
            def back(events)
              [BACK, *events.map(&:place)].pack("aN*")
            end

            # (see done)
            def skip(events)
              [SKIP, *events.map(&:place)].pack("aN*")
            end

            # (see done)
            def refuse(events)
              [REFUSE, *events.map(&:place)].pack("aN*")
            end

            # @param event [Event]
            # @param wait [Float] seconds
            # @return [String]
            def retry(event, wait)
              [RETRY, event.place, wait].pack("aNG")
            end

            # @param event [Event]
            # @param reason [String]
            # @return [String]
            def bury(event, reason)
              [BURY, event.place, reason].pack("aNa*")
            end

            # @return [String]
            def ended
              ENDED
            end

            # @param verdict [String]
            # @return [Array] the letter, and its arguments
            def read_verdict(verdict)
              letter = verdict[0]
              case letter
              when RETRY then verdict.unpack("aNG")
              when BURY then verdict.unpack("aNa*").tap { |parts| text(parts.last) }
              else [letter, verdict.unpack("xN*")]
              end
            end

            # @param bytes [String] is marked as UTF-8 if it is valid
            # @return [String] the same object, frozen
            def text(bytes)
              bytes.force_encoding(Encoding::UTF_8)
              bytes.force_encoding(Encoding::BINARY) unless bytes.valid_encoding?
              bytes.freeze
            end

            private

            def add(message, native)
              id = native.id
              fields = native.fields
              node = native.node.to_s
              message << [id.bytesize, id, native.deliveries, native.received_ms, native.redelivered? ? 1 : 0,
                          native.fence.to_i, native.key_hash.to_i, native.lane.to_i, node.bytesize, node,
                          fields.size].pack("Na*NQ>CQ>Q>NNa*N")
              fields.each { |name, value| message << [name.bytesize, name, value.bytesize, value].pack("Na*Na*") }
            end

            # A live event has a key and no lane.
            def order(fence, key_hash, lane)
              fence.zero? ? [nil, (key_hash unless key_hash.zero?), nil] : [fence, key_hash, lane]
            end

            def read_event(reader, place)
              id = reader.text
              deliveries = reader.number
              received = reader.long
              redelivered = reader.byte == 1
              order = order(reader.long, reader.long, reader.number)
              node = reader.text
              fields = Array.new(reader.number) { [reader.text, reader.text] }.to_h.freeze
              Event.new(id, deliveries, received, redelivered, *order, (node unless node.empty?), fields, place).freeze
            end
          end

          # Reads a message from the beginning to the end.
          class Reader
            def initialize(message)
              @message = message
              @position = 0
            end

            # @return [Integer]
            def number
              @message.unpack1("N", offset: advance(4))
            end

            # @return [Integer]
            def byte
              @message.getbyte(advance(1))
            end

            # @return [Integer]
            def long
              @message.unpack1("Q>", offset: advance(8))
            end

            # @return [String]
            def text
              size = number
              Wire.text(@message.byteslice(advance(size), size))
            end

            private

            def advance(bytes)
              position = @position
              @position += bytes
              position
            end
          end
          private_constant :Reader
        end
      end
    end
  end
end
