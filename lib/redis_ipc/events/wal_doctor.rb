# frozen_string_literal: true

module RedisIPC
  module Events
    # Looks at a database of PostgreSQL, and says what a consumer of its log lacks there, with the statement that brings
    # it. It changes nothing.
    # @api private
    class WalDoctor
      # What was found.
      # @!attribute level [Symbol] `:error` (the consumer does not start, or PostgreSQL refuses changes), `:warning` or
      #   `:ok`
      # @!attribute text [String]
      # @!attribute statements [Array<String>] what to run
      Finding = Struct.new(:level, :text, :statements) do
        # @return [Hash{Symbol => Object}]
        def to_h
          { level: level, text: text, statements: statements }
        end
      end

      OLDEST = 14
      RESTART = "and start PostgreSQL again"
      # What a publication publishes by default.
      PUBLISHED = { "pubinsert" => "insert", "pubupdate" => "update", "pubdelete" => "delete",
                    "pubtruncate" => "truncate" }.freeze
      # Bytes of log that a slot may keep without a warning while nothing reads it.
      MUCH = 1 << 30
      # What the server is, by name.
      SERVER = {
        version: "current_setting('server_version_num')::int / 10000", wal_level: "current_setting('wal_level')",
        standby: "pg_is_in_recovery()", user: "current_user", database: "current_database()",
        # Amazon has a role in the place of the right.
        replicates: "rolsuper OR rolreplication OR EXISTS (SELECT 1 FROM pg_roles r " \
                    "WHERE r.rolname = 'rds_replication' AND pg_has_role(current_user, r.oid, 'member'))",
        creates: "has_database_privilege(current_database(), 'CREATE')",
        most_slots: "current_setting('max_replication_slots')::int",
        slots: "(SELECT count(*) FROM pg_replication_slots)",
        most_senders: "current_setting('max_wal_senders')::int",
        senders: "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender')",
        keep: "(SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size')"
      }.freeze
      SLOT = <<~SQL
        SELECT plugin, database, database = current_database(), active_pid, wal_status,
          pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                          restart_lsn)::bigint
        FROM pg_replication_slots WHERE slot_name = %s
      SQL
      PUBLICATION = "SELECT #{PUBLISHED.keys.join(", ")} FROM pg_publication WHERE pubname = %s".freeze
      # The tables that the consumer names, or those of the publication: their identity, and whether they have a primary
      # key, are published, and belong to the user.
      TABLES = <<~SQL
        SELECT n.nspname, c.relname, c.relreplident,
          EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
          EXISTS (SELECT 1 FROM pg_publication_tables p JOIN pg_namespace pn ON pn.nspname = p.schemaname
                  JOIN pg_class pc ON pc.relname = p.tablename AND pc.relnamespace = pn.oid
                  WHERE p.pubname = %<publication>s AND c.oid IN (pc.oid, pg_partition_root(pc.oid))),
          pg_has_role(current_user, c.relowner, 'member')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND (%<wanted>s)
        ORDER BY 1, 2
      SQL
      # What tells a row from others.
      IDENTITIES = { "d" => "the primary key", "i" => "an index", "f" => "the whole row" }.freeze
      private_constant :IDENTITIES, :OLDEST, :RESTART, :PUBLISHED, :MUCH, :SERVER, :SLOT, :PUBLICATION, :TABLES

      # @param setup [Setup] that of a consumer of a log
      def initialize(setup)
        @setup = setup
        @words = setup.core.fetch(:wal)
        @findings = []
      end

      # @return [Array<Finding>]
      def findings
        facts = ask
        @server = SERVER.keys.zip(facts[0].first).to_h
        server
        publication(facts[2].first)
        tables(facts[3])
        slot(facts[1].first)
        @findings
      rescue ConnectionError, CommandError => e
        add(:error, e.message)
        @findings
      end

      private

      def ask
        server = "SELECT #{SERVER.values.join(", ")} FROM pg_roles WHERE rolname = current_user"
        Native::EventConsumer.ask(@setup.core, [server, format(SLOT, literal(@words[:slot])),
                                                format(PUBLICATION, literal(@words[:publication])), tables_query])
      end

      def tables_query
        publication = literal(@words[:publication])
        wanted = named.map { |schema, table| "(n.nspname, c.relname) = (#{literal(schema)}, #{literal(table)})" }
        if wanted.empty?
          wanted << "(n.nspname, c.relname) IN (SELECT schemaname, tablename FROM pg_publication_tables " \
                    "WHERE pubname = #{publication})"
        end
        format(TABLES, publication: publication, wanted: wanted.join(" OR "))
      end

      # @return [Array<Array(String, String)>] the schemas and tables that the consumer names
      def named
        Array(@words[:tables]).map { |name| name.include?(".") ? name.split(".", 2) : ["public", name] }
      end

      def add(level, text, *statements)
        @findings << Finding.new(level, text, statements)
      end

      def server
        add(*version)
        unless @server[:wal_level] == "logical"
          add(:error, "wal_level is #{@server[:wal_level]}, and not logical: run this, #{RESTART}",
              "ALTER SYSTEM SET wal_level = 'logical'")
        end
        add(:warning, "this server is a standby: a consumer needs the primary") if so?(:standby)
        unless so?(:replicates)
          add(:error, "the user may not replicate: run this as a superuser",
              "ALTER ROLE #{quoted(@server[:user])} REPLICATION")
        end
        limits
      end

      def version
        told = "PostgreSQL #{@server[:version]}, database #{@server[:database]}, user #{@server[:user]}"
        return [:ok, told] if @server[:version].to_i >= OLDEST

        [:error, "#{told}: PostgreSQL #{OLDEST} or later is needed"]
      end

      # @return [Boolean] whether the server says yes
      def so?(name)
        @server[name] == "t"
      end

      def limits
        most = @server[:most_senders].to_i
        if @server[:senders].to_i >= most
          add(:warning, "all #{most} connections that may replicate (max_wal_senders) are in use: run this, #{RESTART}",
              "ALTER SYSTEM SET max_wal_senders = #{most + 10}")
        end
        return unless @server[:keep] == "-1"

        add(:warning, "a slot that nothing reads keeps the log until the disk is full (max_slot_wal_keep_size is -1)",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'", "SELECT pg_reload_conf()")
      end

      def publication(found)
        name = @words[:publication]
        @published = !found.nil?
        return no_publication(name) unless @published

        missing = PUBLISHED.values.zip(found).filter_map { |what, is_so| what unless is_so == "t" }
        return add(:ok, "the publication #{quoted(name)} is there") if missing.empty?

        add(:warning, "the publication #{quoted(name)} does not publish: #{missing.join(", ")}",
            "ALTER PUBLICATION #{quoted(name)} SET (publish = '#{PUBLISHED.values.join(", ")}')")
      end

      def no_publication(name)
        tables = named.map { |table| full(*table) }
        statement = "CREATE PUBLICATION #{quoted(name)} FOR " \
                    "#{tables.empty? ? "ALL TABLES" : "TABLE #{tables.join(", ")}"}"
        return created("publication #{quoted(name)}", statement) if @words[:create]

        add(:error, "there is no publication #{quoted(name)} in the database #{@server[:database]}", statement)
      end

      # The consumer makes it, if it may.
      def created(what, statement)
        return add(:ok, "there is no #{what} yet: the consumer creates it (create: true)") if so?(:creates)

        add(:error, "there is no #{what}, and the user may not create it (create: true): run one of these",
            "GRANT CREATE ON DATABASE #{quoted(@server[:database])} TO #{quoted(@server[:user])}", statement)
      end

      def tables(found)
        (named - found.map { |schema, table| [schema, table] }).each do |table|
          add(:error, "there is no table #{full(*table)} in the database #{@server[:database]}")
        end
        found.each { |schema, name, *facts| table(full(schema, name), *facts) }
      end

      def table(name, identity, has_key, is_published, is_owned)
        if @published && is_published != "t"
          add(:error, "the publication does not have the table #{name}",
              "ALTER PUBLICATION #{quoted(@words[:publication])} ADD TABLE #{name}")
        elsif !@published && @words[:create] && is_owned != "t"
          add(:error, "the user does not own the table #{name}, so it cannot create a publication of it",
              "ALTER TABLE #{name} OWNER TO #{quoted(@server[:user])}")
        end
        identity(name, identity, has_key == "t")
      end

      def identity(name, identity, has_key)
        return no_identity(name, has_key) if identity == "n" || (identity == "d" && !has_key)
        return full_identity(name, has_key) if identity == "f" && @setup.order == "key" && @words[:by].nil?

        add(:ok, "the table #{name} has a replica identity: #{IDENTITIES.fetch(identity)}")
      end

      def no_identity(name, has_key)
        add(:error, "the table #{name} has no replica identity, so PostgreSQL refuses its updates and deletes while " \
                    "it is published: add a primary key, or run this",
            "ALTER TABLE #{name} REPLICA IDENTITY #{has_key ? "DEFAULT" : "FULL"}")
      end

      def full_identity(name, has_key)
        add(:warning, "the replica identity of #{name} is FULL, so its rows have no key, and are handled one after " \
                      "the other: say order :key, by: \"column\"#{", or run this" if has_key}",
            *("ALTER TABLE #{name} REPLICA IDENTITY DEFAULT" if has_key))
      end

      def slot(found)
        return no_slot if found.nil?

        plugin, database, is_here, pid, status, retained = found
        name = @words[:slot]
        if plugin != "pgoutput" || is_here != "t"
          return add(:error, "the slot #{name} is one of the database #{database || "none"} and the plugin " \
                             "#{plugin || "none"}, and not of this one and pgoutput: take another name")
        end
        return lost(name) if status == "lost"

        read(name, pid, status, retained.to_i)
      end

      def lost(name)
        add(:error, "the slot #{name} is lost: PostgreSQL has removed log that it needed. Changes are missing",
            "SELECT pg_drop_replication_slot(#{literal(name)})", creation(name))
      end

      def read(name, pid, status, retained)
        return add(:ok, "the slot #{name} is read by the process #{pid} of PostgreSQL") if pid

        kept = "the slot #{name} is there, nothing reads it, and it keeps #{ByteSize.of(retained)} of log"
        return add(:ok, kept) if retained < MUCH && status != "unreserved"

        lapses = ", which PostgreSQL is about to remove" if status == "unreserved"
        add(:warning, "#{kept}#{lapses}: start the consumer, or drop the slot if it is not needed any more",
            "SELECT pg_drop_replication_slot(#{literal(name)})")
      end

      def no_slot
        name = @words[:slot]
        most = @server[:most_slots].to_i
        if @server[:slots].to_i >= most
          add(:error, "all #{most} replication slots (max_replication_slots) are taken: drop one that nothing uses, " \
                      "or run this, #{RESTART}", "ALTER SYSTEM SET max_replication_slots = #{most + 10}")
        end
        return add(:ok, "there is no slot #{name} yet: the consumer creates it") if creates_slot?

        add(:error, "there is no replication slot #{name}: run this in the database #{@server[:database]}",
            creation(name))
      end

      def creates_slot?
        @words[:temporary] || @words[:create]
      end

      def creation(name)
        "SELECT pg_create_logical_replication_slot(#{literal(name)}, 'pgoutput')"
      end

      def full(schema, table)
        "#{quoted(schema)}.#{quoted(table)}"
      end

      def quoted(name)
        "\"#{name.to_s.gsub("\"", "\"\"")}\""
      end

      def literal(text)
        "'#{text.to_s.gsub("'", "''")}'"
      end
    end
    private_constant :WalDoctor
  end
end
