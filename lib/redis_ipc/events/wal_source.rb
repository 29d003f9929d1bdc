# frozen_string_literal: true

require "uri"

module RedisIPC
  module Events
    # The checked declaration of a log of PostgreSQL. It is frozen.
    # @api private
    class WalSource
      include NoStream

      KEPT = "is for streams: PostgreSQL keeps the changes in its slot"
      FOREIGN = { lease: KEPT, dead_letters: KEPT, remember_ids: KEPT }.freeze
      # By default an event is tried until it is done, because nothing would keep it afterwards.
      ATTEMPTS = 1000
      private_constant :KEPT, :FOREIGN, :ATTEMPTS

      # @return [String] the database and the slot
      attr_reader :name
      # @return [WalFormat]
      attr_reader :format

      # @param who [String] the class
      # @param connection [String, Hash, Symbol, nil]
      # @param options [Hash]
      # @param order [Array(Symbol, Hash), nil] the order that the class declares
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

      # (see StreamSource#kind)
      def kind
        :wal
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

      # (see StreamSource#without_records)
      def without_records
        return "needs tables: of wal. The rows that it writes would come as changes, too" unless @wal[:tables]

        "cannot have a snapshot: the rows that are there have no positions to tell them apart" if @wal[:snapshot]
      end

      # The position that is confirmed.
      # (see StreamSource#floor)
      def floor(engine)
        engine.stats.fetch(:confirmed_lsn)
      end

      # (see StreamSource#core)
      def core
        { wal: @wal }
      end

      # Contains no passwords.
      # @return [String]
      def inspect
        "#<#{self.class} #{name}>"
      end

      private

      # @return [String] the database, as far as it is known before connecting
      def database(reached)
        environment = reached[:environment]
        said = reached.dig(:options, "dbname") || reached[:url]&.slice(%r{\A\w+://[^/?]*/([^?]+)}, 1)
        URI.decode_www_form_component(said || environment.values_at("PGDATABASE", "PGUSER", "USER").compact.first.to_s)
      rescue ArgumentError
        # The core will refuse this URL with an error that says why.
        "?"
      end
    end
    private_constant :WalSource
  end
end
