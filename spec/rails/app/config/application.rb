# frozen_string_literal: true

require "rails/all"
require "redis_ipc" unless ENV["WITHOUT_REDIS_IPC"]
require_relative "../engines/cellar/lib/cellar"

# A small shop: its web servers ask the workers, which ask back.
class Shop < Rails::Application
  config.load_defaults 6.1
  config.root = File.expand_path("..", __dir__)
  config.secret_key_base = "not a secret"
  config.hosts.clear
  config.cache_classes = !Rails.env.development?
  config.eager_load = ENV["EAGER_LOAD"] ? ENV["EAGER_LOAD"] == "true" : !Rails.env.development?
  config.active_storage.service = :local
  config.active_record.dump_schema_after_migration = false
  # With this, the next request sees an edit, however soon it came after the last one.
  config.file_watcher = ActiveSupport::FileUpdateChecker
  config.logger = ActiveSupport::TaggedLogging.new(Logger.new(File.join(config.root, "log", "#{Rails.env}.log")))
  config.log_level = :info
  # Only Rails 7.0 and later know this setting.
  config.active_support.isolation_level = :fiber if ENV["FIBERS"]
end
