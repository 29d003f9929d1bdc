# frozen_string_literal: true

require_relative "../../spec/support/database_cluster"
require_relative "cutting_proxy"

module Chaos
  module Wal
    # A cluster of PostgreSQL. The consumers reach it through a proxy, and the writers through another one.
    class Place
      DATABASE = "postgres"
      SLOT = "house"
      # The log is small, so that the disk may be full soon.
      SETTINGS = { "listen_addresses" => "127.0.0.1", "wal_level" => "logical", "wal_sender_timeout" => "1500ms",
                   "max_wal_size" => "64MB", "min_wal_size" => "32MB" }.freeze
      # `entries` has a row for each event. The other tables are there so that every kind of message comes.
      TABLES = <<~SQL.freeze
        CREATE TABLE entries (key text, number int, note text, PRIMARY KEY (key, number));
        CREATE TABLE scratch (id int PRIMARY KEY);
        CREATE TABLE elsewhere (id int, filler text);
        CREATE PUBLICATION #{SLOT} FOR TABLE entries, scratch;
      SQL

      # Returns why there can be none here, if so.
      def self.missing
        Databases::Cluster.missing
      end

      attr_reader :server, :proxy

      def initialize(settings = {}, folder: nil)
        port = RedisServer.free_port
        @server = Databases::Cluster.new({ **SETTINGS, "port" => port.to_s, **settings }, folder: folder)
        server.query(TABLES)
        create_slot
        @proxy = CuttingProxy.new(port)
        @way = Proxy.new(port)
      end

      # Returns the URL of the consumers.
      def url
        "postgres://spec@127.0.0.1:#{proxy.port}/#{DATABASE}?sslmode=disable"
      end

      # Returns the options of the writers' connections.
      def writing
        { host: "127.0.0.1", port: @way.port, user: "spec", dbname: DATABASE }
      end

      # Lets all connections lead to another server.
      def move_to(port)
        [proxy, @way].each do |way|
          way.target = port
          way.cut
        end
      end

      # Returns rows; nil if the server is away.
      def query(sql)
        server.query(sql).to_a
      rescue PG::Error
        nil
      end

      def commands
        nil
      end

      def stop
        [@proxy, @way].compact.each(&:stop)
        @server&.stop
      end

      private

      def create_slot
        server.query("SELECT pg_create_logical_replication_slot('#{SLOT}', 'pgoutput')")
      end
    end
  end
end
