# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads the events of one kind of source. A class that includes this defines what its source knows. Everything else
    # is nil.
    #
    # An entry is a {Native::StreamEvent}, or includes {EntryFields}.
    # @api private
    module SourceFormat
      # @return [SourceFormat] the format for the stream of the event
      def of(_entry)
        self
      end

      # @return [Hash{Symbol => Object}] the common name and the number of the partition, if there are partitions
      def place
        {}
      end

      # @return [Symbol]
      def operation(_entry)
        :message
      end

      # @return [String, nil] nil if the event cannot be read again
      def position(_entry); end

      # @return [String, nil]
      def key(_entry); end

      # @return [String, nil] the id that the publisher gave it
      def id(_entry); end

      # @return [String, nil]
      def traceparent(_entry); end

      # @return [Hash{String => Object}, nil] the old state, as far as it is known
      def old(_entry); end

      # @return [Transaction, nil]
      def transaction(_entry); end
    end
    private_constant :SourceFormat
  end
end
