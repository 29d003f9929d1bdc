# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads what came from one kind of source. A class that includes it says what its source knows; of everything else
    # there is nothing.
    #
    # An entry is a {Native::StreamEvent}, or has {EntryFields}.
    # @api private
    module SourceFormat
      # @return [SourceFormat] that of the stream it is in
      def of(_entry)
        self
      end

      # @return [Hash{Symbol => Object}] the logical stream and the partition, if there are any
      def place
        {}
      end

      # @return [Symbol]
      def operation(_entry)
        :message
      end

      # @return [String, nil] nil if it cannot be asked for again
      def position(_entry); end

      # @return [String, nil]
      def key(_entry); end

      # @return [String, nil] the id that the publisher gave it
      def id(_entry); end

      # @return [String, nil]
      def traceparent(_entry); end

      # @return [Hash{String => Object}, nil] what is known of the state before
      def old(_entry); end

      # @return [Transaction, nil] the one that it belongs to
      def transaction(_entry); end
    end
    private_constant :SourceFormat
  end
end
