# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require_relative "database_cluster"

# Databases for examples: files of SQLite, and a cluster of PostgreSQL that belongs to the suite.
module Databases
  # Returns the settings of a database for ActiveRecord, without tables.
  def database(kind)
    return sqlite unless kind == :postgresql

    skip Cluster.missing if Cluster.missing
    Cluster.shared.settings.tap { |settings| empty(settings) }
  end

  def remove_databases
    @folders&.each { |folder| FileUtils.remove_entry(folder, true) }
  end

  private

  def sqlite
    folder = Dir.mktmpdir("redis_ipc_db")
    (@folders ||= []) << folder
    { adapter: "sqlite3", database: File.join(folder, "spec.sqlite3"), timeout: 5_000 }
  end

  def empty(settings)
    connection = PG.connect(host: settings[:host], user: settings[:username], dbname: settings[:database])
    connection.exec("SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
  ensure
    connection&.close
  end
end

RSpec.configure do |config|
  config.include Databases
  config.after(:suite) { Databases::Cluster.stop_shared }
end
