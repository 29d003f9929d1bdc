# frozen_string_literal: true

module RedisIPC
  # For `rails generate`.
  module Generators
    # What generators of migrations have in common.
    # @api private
    module Migrations
      # Gives the class of a generator the version of a migration.
      # @api private
      module Versions
        # @param folder [String]
        # @return [String] the version of the migration
        def next_migration_number(folder)
          now = Time.now.utc.strftime("%Y%m%d%H%M%S")
          [now, format("%.14d", current_migration_number(folder) + 1)].max
        end
      end
      private_constant :Versions

      # @param generator [Class]
      def self.included(generator)
        super
        generator.extend(Versions)
      end

      private

      def need_active_record(what)
        return if defined?(ActiveRecord::Base)

        raise Thor::Error, "#{what} needs Active Record, which this application does not load"
      end

      # @param name [String, nil] a database of config/database.yml; nil: the first
      # @return [String] the folder of its migrations
      def migrations_of(name)
        return "db/migrate" if name.nil?

        found = ActiveRecord::Base.configurations.configs_for(env_name: ::Rails.env, name: name)
        raise Thor::Error, "config/database.yml has no database #{name.inspect}" unless found

        Array(found.migrations_paths).first || "db/migrate"
      end

      # @return [Float] the version of Active Record that a migration is written for
      def version
        ActiveRecord::Migration.current_version
      end
    end
  end
end
