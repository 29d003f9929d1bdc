# frozen_string_literal: true

module RedisIPC
  module Events
    # The partitions of a stream. Each is a stream of its own. The key of an event determines its partition.
    # @api private
    module Partitions
      # The allowed numbers of partitions.
      COUNT = (1..256)

      class << self
        # @param count [Object]
        # @return [Integer]
        # @raise [ArgumentError]
        def check(count)
          return count if count.is_a?(Integer) && COUNT.cover?(count)

          raise ArgumentError, "partitions must be a whole number from #{COUNT.first} to #{COUNT.last}, " \
                               "got #{count.inspect}"
        end

        # @param stream [String] the logical stream
        # @param number [Integer]
        # @return [String] the stream of a partition
        def stream(stream, number)
          "#{stream}:#{number}"
        end

        # @param key [String]
        # @param count [Integer]
        # @return [Integer]
        def of_key(key, count)
          Native::EventPublisher.partition(key, count)
        end

        # Returns the partition of an event. Without a key its id determines that, so that a second copy gets there,
        # too. Without both it is random.
        # @param fields [Hash{String => String}]
        # @param id [String, nil] the id that the application gave it
        # @param count [Integer]
        # @return [Integer]
        def of_entry(fields, id, count)
          name = fields[EntryFormat::KEY] || id
          name ? of_key(name, count) : rand(count)
        end

        # @param stream [String] the common name
        # @param count [Integer]
        # @param entries [Array<Array(Array<String>, String)>] of {Publication.entry}
        # @return [Hash{String => Array<Integer>}] for each stream the indices of its entries
        def divide(stream, count, entries)
          entries.each_index.group_by do |index|
            fields, id = entries[index]
            stream(stream, of_entry(fields.each_slice(2).to_h, id, count))
          end
        end
      end
    end
    private_constant :Partitions
  end
end
