# frozen_string_literal: true

module RedisIPC
  class Admin
    # A server of Redis: the only one, the master that the sentinels name, or a node of a cluster that serves keys.
    class Node < Value
      # @return [String]
      attr_reader :address
      # @return [String, nil] `master` or `slave`
      attr_reader :role
      # @return [String, nil] `redis` or `valkey`
      attr_reader :server
      # @return [String, nil]
      attr_reader :version
      # @return [Integer, nil] seconds since it started
      attr_reader :uptime
      # @return [Integer, nil] bytes
      attr_reader :used_memory
      # @return [Integer, nil] bytes; 0 is no limit
      attr_reader :maxmemory
      # @return [String, nil] what it does at the limit, such as `noeviction`
      attr_reader :policy
      # @return [String, nil] which notifications about keys it sends; nil also if the user may not ask
      attr_reader :notifications
      # @return [Integer, nil] how many connections it has
      attr_reader :clients
      # @return [Integer, nil] how many connections it can have
      attr_reader :max_clients
      # @return [Integer, nil] commands in each second
      attr_reader :ops
      # @return [Integer, nil] keys that it has evicted
      attr_reader :evicted
      # @return [Integer, nil] replicas that are connected
      attr_reader :replicas
      # @return [Boolean, nil] whether it is loading its data
      attr_reader :loading
      # @return [Float, nil] how many seconds it took to answer
      attr_reader :latency
      # @return [Float, nil] by how many seconds its clock is ahead of this machine's
      attr_reader :clock_offset
      # @return [Hash{String => Integer}, nil] how many connections of this gem it has, by what they are for; nil if the
      #   user may not ask
      attr_reader :connections
      # @return [String, nil] the user that the observer is; nil if it may not ask
      attr_reader :user

      # @return [Float, nil] the share of the memory limit that is used; nil without a limit
      def memory_share
        used_memory.to_f / maxmemory if used_memory && maxmemory.to_i.positive?
      end
    end
  end
end
