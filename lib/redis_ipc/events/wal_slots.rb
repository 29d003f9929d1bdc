# frozen_string_literal: true

module RedisIPC
  module Events
    # Lists the logical replication slots of servers, and which consumers read them. It changes nothing.
    # @api private
    module WalSlots
      # A slot.
      # @!attribute server [String] the server, and the database by which it was asked
      # @!attribute pid [Integer, nil] the process of PostgreSQL that reads it now
      # @!attribute confirmed [String, nil] the position before which all is done
      # @!attribute lag [Integer, nil] how many bytes of log are not confirmed
      # @!attribute retained [Integer, nil] how many bytes of log it keeps
      # @!attribute status [String, nil] `reserved`, `extended`, `unreserved` or `lost`
      # @!attribute consumers [Array<String>] the classes that name it
      Slot = Struct.new(:server, :slot, :database, :plugin, :temporary, :pid, :confirmed, :lag, :retained, :status,
                        :consumers)
      QUERY = <<~SQL
        WITH here AS (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
                      AS lsn)
        SELECT slot_name, database, plugin, temporary, active_pid, confirmed_flush_lsn,
          pg_wal_lsn_diff(here.lsn, confirmed_flush_lsn)::bigint, pg_wal_lsn_diff(here.lsn, restart_lsn)::bigint, wal_status,
          database = current_database()
        FROM pg_replication_slots, here WHERE slot_type = 'logical' ORDER BY 1
      SQL
      private_constant :QUERY

      class << self
        # @param setups [Array<Setup>] those of consumers of logs
        # @return [Array<Slot>] all of their servers, the largest first
        # @raise [ConnectionError]
        # @raise [CommandError]
        def of(setups)
          setups.group_by(&:redis).flat_map { |server, same| on(server, same) }.sort_by { |slot| -slot.retained.to_i }
        end

        # @param given [String, Hash, Symbol] how to reach a database
        # @return [Array<Slot>] the slots of its server, without those who read them
        # @raise (see #of)
        def at(given)
          # The core asks for a slot, and does not look at it.
          read({ wal: { slot: "any", connection: WalSettings.of("RedisIPC::Admin", given) } }, nil, {})
        end

        private

        def on(server, setups)
          names = setups.group_by { |setup| setup.core.dig(:wal, :slot) }.transform_values { |same| same.map(&:name) }
          read(setups.first.core, server, names)
        end

        def read(core, server, names)
          Native::EventConsumer.ask(core, [QUERY]).first.map do |*told, is_here|
            slot = Slot.new(server, *told, is_here == "t" ? names.fetch(told.first, []) : [])
            slot.temporary = slot.temporary == "t"
            %i[pid lag retained].each { |name| slot[name] = slot[name]&.to_i }
            slot.freeze
          end
        end
      end
    end
    private_constant :WalSlots
  end
end
