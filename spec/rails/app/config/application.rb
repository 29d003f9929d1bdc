# frozen_string_literal: true

require "rails"
require "action_controller/railtie"
require "active_record/railtie"
require "redis_ipc"

# A small shop: its web servers ask the workers, which ask back.
class Shop < Rails::Application
  config.load_defaults 6.1
  config.root = File.expand_path("..", __dir__)
  config.secret_key_base = "not a secret"
  config.hosts.clear
  config.cache_classes = config.eager_load = !Rails.env.development?
  # Seen at the next request, however soon after the last it was written.
  config.file_watcher = ActiveSupport::FileUpdateChecker
  config.logger = ActiveSupport::TaggedLogging.new(Logger.new(File.join(config.root, "log", "#{Rails.env}.log")))
  config.log_level = :info
end
