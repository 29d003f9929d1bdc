# frozen_string_literal: true

module RedisIPC
  module Events
    # The partitions of a stream: streams of their own, over which the events of one logical stream are spread by their
    # keys.
    # @api private
    module Partitions
      # How many there may be.
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

        # An event without a key belongs to the partition of its id, so that the same id is known there; one without
        # either to any.
        # @param fields [Hash{String => String}]
        # @param id [String, nil] the one that the application gives it
        # @param count [Integer]
        # @return [Integer]
        def of_entry(fields, id, count)
          name = fields[EntryFormat::KEY] || id
          name ? of_key(name, count) : rand(count)
        end

        # @param stream [String] the logical stream
        # @param count [Integer]
        # @param entries [Array<Array(Array<String>, String)>] of {Publication.entry}
        # @return [Hash{String => Array<Integer>}] the indices of the entries of each stream
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
