# frozen_string_literal: true

require "rails/generators/base"
require "rails/generators/migration"
require_relative "../migrations"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:exactly_once`
    class ExactlyOnceGenerator < ::Rails::Generators::Base
      include ::Rails::Generators::Migration
      include Migrations

      # Thor would name it redis_i_p_c.
      namespace "redis_ipc:exactly_once"
      source_root File.expand_path("templates", __dir__)
      desc "Creates the migration for consumers of events that say exactly_once."
      class_option :database, type: :string, aliases: "--db",
                              desc: "The database of config/database.yml whose migration it is; the first by default"

      # @return [void]
      # @raise [Thor::Error] without Active Record, or such a database
      def create_migration_file
        need_active_record("exactly_once")
        migration_template "create_redis_ipc_exactly_once.rb.tt",
                           File.join(migrations_of(options[:database]), "create_redis_ipc_exactly_once.rb")
      end
    end
  end
end
