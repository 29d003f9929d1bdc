# frozen_string_literal: true

require_relative "rails/configuration"
require_relative "rails/code"
require_relative "rails/channels"
require_relative "rails/processes"
require_relative "rails/log_subscriber"
require_relative "rails/error_reporter"

# Where Rails is loaded.
module RedisIPC
  # What makes the gem at home in a Rails application; docs/rails.md describes it.
  module OnRails
    # Ties the gem to Rails: configuration, channels, executor, log, tasks.
    class Railtie < ::Rails::Railtie
      railtie_name :redis_ipc

      config.redis_ipc = ActiveSupport::OrderedOptions.new

      # `config.redis_ipc` may be set in config/initializers.
      initializer "redis_ipc.configure", after: :load_config_initializers do |app|
        configuration = Configuration.new(app).tap(&:named)
        RedisIPC.channels = Channels.new(configuration)
        Channel.connector = RedisIPC.channels.method(:connect_to_ask)
        Code.new(app, configuration.log_tags).install
        ProcessHooks.exit_timeout = configuration.shutdown_timeout
        LogSubscriber.attach_to(:redis_ipc)
        ErrorReporter.install
        app.reloader.to_prepare { RedisIPC.channels.reload }
      end

      # By now the code is loaded, and what reloads it is set up.
      initializer "redis_ipc.connect", after: :set_clear_dependencies_hook do
        Processes.booted(RedisIPC.channels)
      end

      # Run by `Rails.application.load_server` in config.ru.
      server { Processes.server_booted(RedisIPC.channels) }

      rake_tasks { load File.expand_path("rails/tasks.rake", __dir__) }
    end
  end
end
