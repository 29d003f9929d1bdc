# frozen_string_literal: true

module RedisIPC
  module Testing
    # Stands in for the core's consumer, for one group of one stream.
    # @api private
    class EventEngine
      COUNTERS = %i[taken redelivered acknowledged unacknowledged deleted suppressed released dead_lettered losses held
                    resting reconnections reports_dropped skipped refused].freeze
      private_constant :COUNTERS

      @all = {}
      @entries = 0
      @lock = Mutex.new

      class << self
        # @param setup [Events::Setup]
        # @return [EventEngine]
        def of(setup)
          @lock.synchronize { @all[[setup.stream, setup.group]] ||= new(setup) }
        end

        def forget
          @lock.synchronize { @all.clear }
        end

        # Makes an entry, as the core would read it from Redis.
        # @param fields [Array<Array(String, String)>]
        # @param deliveries [Integer]
        # @param id [String, nil] that of an entry that was there before
        # @return [Events::StoredEvent]
        def entry(fields, deliveries: 1, id: nil)
          now = Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
          number = @lock.synchronize { @entries += 1 }
          texts = fields.to_h { |pair| pair.map { |one| text(one) } }.freeze
          Events.stored([id || "#{now}-#{number}", now, texts, deliveries, now])
        end

        private

        # The encoding that the core gives it.
        def text(value)
          text = value.to_s.dup.force_encoding(Encoding::UTF_8)
          (text.valid_encoding? ? text : text.force_encoding(Encoding::BINARY)).freeze
        end
      end

      # Delivers the event of a dead letter again.
      # @return [#call, nil]
      attr_accessor :redeliver

      # @return [Progress] what it was delivered, and what of that is done
      attr_reader :delivered

      # @param setup [Events::Setup]
      def initialize(setup)
        @setup = setup
        @counts = COUNTERS.to_h { |name| [name, 0] }
        @letters = []
        @lock = Mutex.new
        @delivered = Progress.new(ordered: setup.ordered?)
        @holds_keys = setup.holds_keys?
      end

      # @param entry [Events::StoredEvent]
      # @return [void]
      def take(entry)
        delivered.take(entry.id)
        count(:taken)
        count(:redelivered) if entry.deliveries > 1
      end

      def done_one(entry)
        done([entry])
      end

      def done(entries)
        delivered.settle(entries.map(&:id))
        count(:acknowledged, entries.size)
      end

      # Counts a loss.
      def lose
        count(:losses)
      end

      def skip(entries)
        count(:skipped, entries.size)
        done(entries)
      end

      def retry(_entry, _wait); end

      def give_back(_entries); end

      # Records what would be written into the stream as published to it.
      def forward(entries, keys, types)
        entries.each_with_index do |entry, index|
          event = ChangeEvent.new(entry, @setup.format)
          fields = Events::ForwardedEntries.fields(@setup.forwarding, event, [keys&.at(index), types&.at(index)])
          Testing.publish(@setup.forwarding.stream, @setup.forwarding.core[:partitions], [EventEngine.entry(fields)])
        end
        done(entries)
      end

      def refuse(entries)
        count(:refused, entries.size)
      end

      def bury(entry, reason)
        letter = { id: EventEngine.entry([]).id, entry_id: entry.id, reason: reason, deliveries: entry.deliveries,
                   died_ms: entry.received_ms, fields: entry.fields }
        @lock.synchronize { @letters << letter }
        delivered.settle([entry.id]) unless @holds_keys
        count(:dead_lettered)
      end

      def pause; end

      def resume; end

      def pause_key(_key, _paused)
        true
      end

      def lag
        0
      end

      # There is no stream, so its last entry is the last one that was delivered.
      def progress
        delivered.to_a
      end

      def seek(_position)
        "0-0"
      end

      def made_group?
        false
      end

      # @return [Hash{Symbol => Integer}]
      def stats
        @lock.synchronize { @counts.dup }
      end

      def dead_letters(after, count)
        place = ->(id) { id.split("-").map(&:to_i) }
        rest = @lock.synchronize { @letters.dup }
        rest = rest.select { |letter| (place.call(letter[:id]) <=> place.call(after)).positive? } if after
        rest.first(count)
      end

      def count_dead_letters
        @lock.synchronize { @letters.size }
      end

      def discard_dead_letter(id)
        letter = remove(id)
        delivered.settle([letter[:entry_id]]) if letter
        !letter.nil?
      end

      def retry_dead_letter(id)
        letter = remove(id)
        redeliver.call(EventEngine.entry(letter[:fields].to_a, id: letter[:entry_id])) if letter
        !letter.nil?
      end

      private

      def remove(id)
        @lock.synchronize do
          found = @letters.index { |letter| letter[:id] == id }
          found && @letters.delete_at(found)
        end
      end

      def count(name, by = 1)
        @lock.synchronize { @counts[name] += by }
      end
    end
    private_constant :EventEngine
  end
end
