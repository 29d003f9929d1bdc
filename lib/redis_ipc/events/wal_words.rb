# frozen_string_literal: true

require "securerandom"

module RedisIPC
  module Events
    # Checks what a consumer class declares about PostgreSQL's log.
    # @api private
    module WalWords
      KNOWN = %i[tables publication slot temporary create on_slot_lost snapshot failover].freeze
      ON_SLOT_LOST = %i[create raise].freeze
      # The options of each order.
      ORDER = { none: [], key: %i[by], source: [] }.freeze
      private_constant :KNOWN, :ON_SLOT_LOST, :ORDER

      class << self
        # @param who [String] the class
        # @param options [Hash]
        # @return [Hash{Symbol => Object}] the checked options, as the core takes them
        def options(who, options)
          Check.known(who, "wal", options, KNOWN)
          temporary = Check.flag(who, :wal, :temporary, options)
          slot = options[:slot] || (temporary ? "redis_ipc_#{SecureRandom.hex(8)}" : nil)
          Check.refuse("wal of #{who} needs a slot: wal url, slot: \"name\"") if slot.nil?
          publication = options[:publication] || options[:slot]
          Check.refuse("wal of #{who} needs a publication: wal url, publication: \"name\"") if publication.nil?
          { slot: slot.to_s, publication: publication.to_s, tables: tables(options[:tables]), temporary: temporary,
            create: Check.flag(who, :wal, :create, options),
            snapshot: Check.flag(who, :wal, :snapshot, options),
            failover: Check.flag(who, :wal, :failover, options),
            on_slot_lost: on_slot_lost(who, options[:on_slot_lost]) }.compact
        end

        # @return [Hash{Symbol => Object}] the checked order
        def order(who, order, options)
          known = ORDER[order]
          Check.refuse("the order of #{who} must be :source, :key or :none, got #{order.inspect}") unless known
          Check.known(who, "order #{order.inspect}", options, known)
          by = options[:by]&.then { |name| Check.named("by: of order, the name of a column,", name) }
          { order: order.name, by: by }.compact
        end

        # Returns the name of a log in messages. It does not contain the URL, which may hold a password.
        # @param options [Hash]
        # @return [String]
        def label(options)
          "the write-ahead log#{", #{options[:slot]}" if options[:slot]}"
        end

        private

        def tables(given)
          names = Array(given).map(&:to_s)
          names unless names.empty?
        end

        def on_slot_lost(who, given)
          return if given.nil?
          return given.name if ON_SLOT_LOST.include?(given)

          Check.refuse("on_slot_lost: of wal of #{who} must be :create or :raise, got #{given.inspect}")
        end
      end
    end
    private_constant :WalWords
  end
end
