# frozen_string_literal: true

require "rails/generators/named_base"
require "rails/generators/migration"
require_relative "../consumers"
require_relative "../migrations"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:wal NAME [table ...] [--forward STREAM]`
    class WalGenerator < ::Rails::Generators::NamedBase
      include ::Rails::Generators::Migration
      include Consumers
      include Migrations

      # What PostgreSQL takes for a slot.
      SLOT = /\A[a-z0-9_]{1,63}\z/
      private_constant :SLOT

      # Thor would name it redis_i_p_c.
      namespace "redis_ipc:wal"
      source_root File.expand_path("templates", __dir__)
      desc "Creates a consumer of PostgreSQL's log in app/events, and the migration with its publication and replica " \
           "identities."
      argument :tables, type: :array, required: false, banner: "table table",
                        desc: "the tables whose changes it gets; the consumer's name in the plural if none is given"
      class_option :slot, type: :string, desc: "The name of the slot and the publication; ipc_NAME if none is given"
      class_option :forward, type: :string, banner: "STREAM",
                             desc: "The stream into which the changes are written, instead of to a handler"
      class_option :database, type: :string, aliases: "--db", default: "primary",
                              desc: "The database of config/database.yml"

      # Checks the names before anything is written.
      # @return [void]
      # @raise [Thor::Error]
      def check
        @tables = (tables || [path_name.tr("/", "_").pluralize]).map { |name| Names.check("a table's name", name) }
        @slot = options[:slot] || "ipc_#{path_name.tr("/", "_")}"
        raise Thor::Error, "a slot's name has lower case letters, digits and _, got #{@slot}" unless @slot.match?(SLOT)

        @stream_name = options[:forward]&.then { |name| Names.check("the stream's name", name) }
        @had_folder = folder_there?
        need_active_record("a consumer of PostgreSQL's log")
        class_collisions(generated_class)
      end

      # @return [void]
      def create_migration_file
        migration_template "create_redis_ipc_publication.rb.tt",
                           File.join(migrations_of(options[:database]), "#{migration_name}.rb")
      end

      # @return [void]
      def create_consumer
        template "wal_consumer.rb.tt", path_in("app/events")
        restart_spring_unless(@had_folder)
      end

      # Says what is left to do: a slot keeps the log from its creation on, so nobody gets one unasked.
      # @return [void]
      def tell
        return if behavior == :revoke

        say <<~TEXT

          Then, in this order:
            1. ALTER SYSTEM SET wal_level = 'logical';             as a superuser, and start PostgreSQL again
               ALTER ROLE name REPLICATION;                        for the user of the consumer
            2. bin/rails db:migrate
            3. SELECT pg_create_logical_replication_slot('#{@slot}', 'pgoutput');
                                                                   in the database, when the consumer is about to run:
                                                                   a slot keeps the log until it is read or dropped
          `bundle exec redis_ipc events doctor` says what is still missing. docs/postgres.md of redis_ipc has the rest.
        TEXT
      end

      private

      def migration_name
        "create_#{@slot}_publication"
      end

      # @return [String] the class to inherit from
      def parent
        base_class_there? ? base_class : "RedisIPC::Events::Consumer"
      end
    end
  end
end
