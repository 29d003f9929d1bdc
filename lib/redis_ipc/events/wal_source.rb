# frozen_string_literal: true

require "uri"

module RedisIPC
  module Events
    # The log of PostgreSQL that a consumer reads, as its class says it, checked. It is frozen.
    # @api private
    class WalSource
      include NoStream

      KEPT = "is for streams: PostgreSQL keeps the changes in its slot"
      FOREIGN = { lease: KEPT, dead_letters: KEPT, remember_ids: KEPT }.freeze
      # An event is tried again until it is done, unless the class says otherwise: nothing would keep it.
      ATTEMPTS = 1000
      private_constant :KEPT, :FOREIGN, :ATTEMPTS

      # @return [String] the database and the slot
      attr_reader :name
      # @return [WalFormat]
      attr_reader :format

      # @param who [String] the class
      # @param connection [String, Hash, Symbol, nil]
      # @param options [Hash]
      # @param order [Array(Symbol, Hash), nil] what the class says of it
      # @raise [ConfigurationError]
      def initialize(who, connection, options, order)
        words = WalWords.options(who, options)
        order = WalWords.order(who, *(order || [:source, {}]))
        reached = WalSettings.of(who, connection)
        @wal = { **words, **order, connection: reached }.freeze
        @name = "#{database(reached)}/#{words[:slot]}".freeze
        @format = WalFormat.new(@name, by: order[:by])
        freeze
      end

      # (see StreamSource#lag?)
      def lag?
        true
      end

      # (see StreamSource#foreign)
      def foreign
        FOREIGN
      end

      # (see StreamSource#order)
      def order
        @wal[:order]
      end

      # (see StreamSource#attempts)
      def attempts
        ATTEMPTS
      end

      # (see LiveSource#without_records)
      def without_records
        "the records are those of a stream's entries"
      end

      # (see StreamSource#core)
      def core
        { wal: @wal }
      end

      # Shows no passwords.
      # @return [String]
      def inspect
        "#<#{self.class} #{name}>"
      end

      private

      # @return [String] the database, as far as it is known before the connection
      def database(reached)
        environment = reached[:environment]
        said = reached.dig(:options, "dbname") || reached[:url]&.slice(%r{\A\w+://[^/?]*/([^?]+)}, 1)
        URI.decode_www_form_component(said || environment.values_at("PGDATABASE", "PGUSER", "USER").compact.first.to_s)
      rescue ArgumentError
        # The core refuses the URL, and says why.
        "?"
      end
    end
    private_constant :WalSource
  end
end
