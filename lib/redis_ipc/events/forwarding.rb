# frozen_string_literal: true

module RedisIPC
  module Events
    # The stream into which a consumer of PostgreSQL's log writes the changes, as its class says it, checked. It is
    # frozen.
    # @api private
    class Forwarding
      KNOWN = %i[to key type partitions maxlen keep unread].freeze
      # How many changes are written together, where Ruby names their keys or types, and how many seconds more are
      # waited for.
      BATCH = [500, 0.0].freeze
      # The most columns of a key.
      COLUMNS = (1..32)
      private_constant :KNOWN, :COLUMNS

      # @param who [String] the class
      # @param said [Hash{Symbol => Object}, nil] what it says
      # @param by [String, nil] the column that its order names
      # @return [Forwarding, nil]
      # @raise [ConfigurationError]
      def self.of(who, said, by)
        new(who, said, by) if said
      end

      # @return [String] the stream
      attr_reader :stream
      # @return [Hash{Symbol => Object}] what the core is told
      attr_reader :core

      def initialize(who, said, by)
        Check.known(who, "forward", said, KNOWN)
        Check.refuse("forward of #{who} needs a stream: forward to: \"name\"") if said[:to].nil?
        @stream = Check.named("the stream's name, to: of forward,", said[:to])
        @key, @type = said.values_at(:key, :type).map { |rule| rule if rule.respond_to?(:call) && !rule.is_a?(Symbol) }
        @core = { to: stream, key: @key ? nil : columns(who, said.fetch(:key, by)), asked: asked?,
                  **(@type ? {} : type(who, said[:type])), **sizes(who, said) }.compact.freeze
        freeze
      end

      # @return [Boolean] whether Ruby names the key or the type of each change
      def asked?
        !(@key || @type).nil?
      end

      # @param event [ChangeEvent]
      # @return [Array(String, String)] its key and its type, where Ruby names these
      # @raise [ArgumentError]
      def names(event)
        [@key && name("key", @key.call(event)), @type && name("type", @type.call(event))]
      end

      # @return [Boolean] whether Ruby names the keys
      def keys?
        !@key.nil?
      end

      # @return [Boolean] whether Ruby names the types
      def types?
        !@type.nil?
      end

      private

      def name(what, given)
        given.nil? ? nil : Publication.word(what, given)
      end

      def columns(who, given)
        return if given.nil?

        names = Array(given).map { |name| Check.named("key: of forward, the name of a column,", name) }
        return names if COLUMNS.cover?(names.size)

        Check.refuse("key: of forward of #{who} must name 1 to #{COLUMNS.last} columns, got #{names.size}")
      end

      def type(who, given)
        case given
        when nil then {}
        when Symbol then { type_column: given.name }
        when String then { type: Check.named("type: of forward", given) }
        else
          Check.refuse("type: of forward of #{who} must be a String, a Symbol (a column), or respond to call, " \
                       "got #{given.inspect}")
        end
      end

      # The limits are those of {Events.publish}.
      def sizes(who, said)
        partitions = said[:partitions]&.then { |count| Partitions.check(count) }
        (maxlen, keep, unread, drop), = Publication.options(**said.slice(:maxlen, :keep, :unread))
        { partitions: partitions, maxlen: maxlen, keep: keep, unread: unread, drop_unread: drop }
      rescue ArgumentError => e
        Check.refuse("forward of #{who}: #{e.message}")
      end
    end
    private_constant :Forwarding
  end
end
