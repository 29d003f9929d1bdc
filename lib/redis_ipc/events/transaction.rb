# frozen_string_literal: true

require "time"

module RedisIPC
  module Events
    # The transaction of PostgreSQL that a change belongs to, and the place of the change in it. It is frozen.
    class Transaction
      # @return [Integer] its id (xid)
      attr_reader :id
      # @return [String] the position of its commit in the log (LSN)
      attr_reader :commit_lsn
      # @return [Integer] the number of this change, from 0 on. Only changes that the consumer gets are counted
      attr_reader :index
      # @return [Integer] when it was committed, in microseconds since 1970
      # @api private
      attr_reader :committed_us

      # @param id [Integer]
      # @param commit_lsn [String]
      # @param index [Integer]
      # @param ends [Array(Boolean, Boolean)] whether it is the first, and the last
      # @param committed_us [Integer] microseconds since 1970
      # @api private
      def initialize(id, commit_lsn, index, ends, committed_us)
        @id = id
        @commit_lsn = commit_lsn
        @index = index
        @first, @last = ends
        @committed_us = committed_us
        freeze
      end

      # @return [Time]
      def committed_at
        Time.at(0, @committed_us, :microsecond).utc
      end

      # @return [Boolean] whether it is the first of its changes that the consumer gets
      def first?
        @first
      end

      # @return [Boolean] whether this is the last change of the transaction
      def last?
        @last
      end

      # @return [Hash{String => Object}] the transaction in a form that JSON can hold
      def to_h
        { "id" => id, "commit_lsn" => commit_lsn, "committed_at" => committed_at.iso8601(6), "index" => index,
          "last" => last? }
      end
    end
  end
end
