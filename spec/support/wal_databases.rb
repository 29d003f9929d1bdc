# frozen_string_literal: true

require_relative "databases"

# A cluster of PostgreSQL whose log can be read, with a database for each example.
module WalDatabases
  SETTINGS = { "wal_level" => "logical", "wal_sender_timeout" => "1500ms", "max_replication_slots" => "20",
               "max_wal_senders" => "20" }.freeze

  class << self
    # Nobody may use a database when it is removed.
    def included(group)
      super
      group.after do
        stop_consumers
        stop_processes
        remove_wal_database
      end
    end

    def shared
      @shared ||= Databases::Cluster.new(SETTINGS)
    end

    def stop_shared
      @shared&.stop
      @shared = nil
    end
  end

  def cluster
    skip Databases::Cluster.missing if Databases::Cluster.missing
    @cluster ||= WalDatabases.shared
  end

  # Returns a connection to the example's database.
  def pg
    @pg ||= connect_to(database_name)
  end

  def connect_to(database, user: "spec")
    folder = cluster.folder
    PG.connect(host: folder, user: user, dbname: database)
  end

  def database_name
    @database_name ||= "spec_#{SecureRandom.hex(4)}".tap do |name|
      on_postgres { |connection| connection.exec("CREATE DATABASE #{name}") }
    end
  end

  def wal_url(user: "spec")
    "postgres://#{user}@/#{database_name}?host=#{cluster.folder}"
  end

  # Creates a slot with the plugin that consumers read.
  def make_slot(name)
    pg.exec("SELECT pg_create_logical_replication_slot('#{name}', 'pgoutput')")
  end

  def slot(name = "ipc")
    pg.exec_params("SELECT active_pid, confirmed_flush_lsn - '0/0' AS confirmed FROM pg_replication_slots " \
                   "WHERE slot_name = $1", [name]).first&.transform_values { |text| text&.to_i }
  end

  # Returns the current end of the log.
  def log_end
    pg.exec("SELECT pg_current_wal_lsn() - '0/0'").getvalue(0, 0).to_i
  end

  def confirmed?(lsn, name = "ipc")
    slot(name)["confirmed"] >= lsn
  end

  # Ends the connection that reads the slot.
  def cut_wal(name = "ipc")
    pg.exec_params("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", [name])
  end

  def remove_wal_database
    return unless @database_name

    @pg&.close
    on_postgres do |connection|
      eventually { connection.exec("SELECT 1 FROM pg_replication_slots WHERE active").ntuples.zero? }
      connection.exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
      connection.exec("DROP DATABASE #{@database_name} WITH (FORCE)")
    end
  end

  private

  def on_postgres
    connection = connect_to("postgres")
    yield connection
  ensure
    connection&.close
  end
end

RSpec.configure do |config|
  config.after(:suite) { WalDatabases.stop_shared }
end
