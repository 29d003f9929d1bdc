# frozen_string_literal: true

require_relative "../acl"

module RedisIPC
  module CLI
    # What verbs about the rights of a role have in common: its name, and the names of its keys.
    # @api private
    module RoleVerb
      # The options that {ACL.rules} takes as names.
      NAMES = %i[stream group to askers queue events partitions slot channels patterns shard_channels keys values fields
                 cluster sentinels].freeze
      private_constant :NAMES

      LISTS = {
        stream: ["-s", "--stream NAME,NAME", "the stream of request/reply or of events"],
        to: ["--to NAME,NAME", "the groups that an asker asks"],
        askers: ["--askers NAME,NAME", "the groups that an answerer answers (all)"],
        queue: ["-q", "--queue NAME,NAME", "the queue of JSON-RPC"],
        events: ["--events NAME,NAME", "the streams of events that an observer or operator looks at"],
        channels: ["--channels NAME,NAME", "of an event_subscriber"],
        patterns: ["--patterns PATTERN,PATTERN", "of an event_subscriber"],
        shard_channels: ["--shard-channels NAME,NAME", "of an event_subscriber"],
        keys: ["--keys PATTERN,PATTERN", "of a key_subscriber"]
      }.freeze
      private_constant :LISTS

      # Declares the names.
      def self.included(verb)
        super
        verb.class_eval do
          argument :role, "what the user does", choices: ACL.roles.map(&:to_s).freeze
          option :group, "-g", "--group NAME", "the user's own group"
          LISTS.each { |name, words| option name, *words, type: Array }
          option :partitions, "--partitions NUMBER", "of the events", type: Integer, least: 1
          option :slot, "--slot NAME", "the replication slot of an event_forwarder"
          option :values, "--values", "a key_subscriber reads the values of keys"
          option :fields, "--fields", "a key_subscriber is told of the fields of hashes"
          option :cluster, "--cluster", "for a Redis Cluster"
          option :sentinels, "--sentinels", "for a server that sentinels watch"
        end
      end

      private

      # @return [Symbol]
      def role
        given[:role].to_sym
      end

      # @return [Hash{Symbol => Object}] for {ACL.rules}; most roles take one name where others take several
      def names
        given.slice(*NAMES).compact.transform_values { |value| value.is_a?(Array) && value.one? ? value.first : value }
      end

      # Runs the block, which may say that names are missing or too many.
      # @raise [UsageError]
      def naming
        yield
      rescue ArgumentError => e
        # The names of its arguments are those of the options.
        text = e.message.sub(/ keywords?:/, "")
        raise UsageError, "#{role}: #{text.gsub(/(?<![\w"]):?(\w+):|:(\w+)/) { |name| option(name.delete(":")) }}"
      end

      def option(name)
        "--#{name.tr("_", "-")}"
      end
    end
  end
end
