# frozen_string_literal: true

require "rails/generators/base"
require "rails/generators/migration"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:exactly_once`
    class ExactlyOnceGenerator < ::Rails::Generators::Base
      include ::Rails::Generators::Migration

      # Thor would name it redis_i_p_c.
      namespace "redis_ipc:exactly_once"
      source_root File.expand_path("templates", __dir__)
      desc "Creates the migration for consumers of events that say exactly_once."
      class_option :database, type: :string, aliases: "--db",
                              desc: "The database of config/database.yml whose migration it is; the first by default"

      # @param folder [String]
      # @return [String] the version of the migration
      def self.next_migration_number(folder)
        now = Time.now.utc.strftime("%Y%m%d%H%M%S")
        [now, format("%.14d", current_migration_number(folder) + 1)].max
      end

      # @return [void]
      # @raise [Thor::Error] without Active Record, or such a database
      def create_migration_file
        unless defined?(ActiveRecord::Base)
          raise Thor::Error, "exactly_once needs Active Record, which this application does not load"
        end

        migration_template "create_redis_ipc_exactly_once.rb.tt",
                           File.join(folder, "create_redis_ipc_exactly_once.rb")
      end

      private

      def folder
        name = options[:database]
        return "db/migrate" if name.nil?

        found = ActiveRecord::Base.configurations.configs_for(env_name: ::Rails.env, name: name)
        raise Thor::Error, "config/database.yml has no database #{name.inspect}" unless found

        Array(found.migrations_paths).first || "db/migrate"
      end

      def version
        ActiveRecord::Migration.current_version
      end
    end
  end
end
