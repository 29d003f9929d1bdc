# frozen_string_literal: true

require_relative "rails/configuration"
require_relative "rails/request_id"
require_relative "rails/code"
require_relative "rails/channels"
require_relative "rails/consumers"
require_relative "rails/worker"
require_relative "rails/processes"
require_relative "rails/log_subscriber"
require_relative "rails/error_reporter"
require_relative "rails/event_reporter"

# This part of the gem is loaded with Rails.
module RedisIPC
  # Integrates the gem in a Rails application; docs/rails.md describes it.
  module OnRails
    # Ties the gem to Rails: configuration, channels, consumers, executor, log, tasks.
    #
    # The railtie defines no initializer of its own. Rails does not postpone an initializer that says `after: :other`:
    # it runs `other`, and all that comes before it, earlier. A railtie comes before all engines, so that would pull
    # the application's initializers or even the end of the boot ahead of the engines' initializers.
    class Railtie < ::Rails::Railtie
      railtie_name :redis_ipc

      config.redis_ipc = ActiveSupport::OrderedOptions.new
      config.app_middleware.use RequestId

      # The web server answers an exception that a controller does not rescue with these, as it does with those of
      # Rails.
      RESCUE_RESPONSES = {
        "RedisIPC::TimeoutError" => :gateway_timeout,
        "RedisIPC::ConnectionError" => :service_unavailable,
        "RedisIPC::NotConnectedError" => :service_unavailable,
        "RedisIPC::OverloadedError" => :service_unavailable
      }.freeze
      private_constant :RESCUE_RESPONSES

      # This runs before the application's own configuration, which may set others.
      config.before_configuration do |app|
        if app.config.respond_to?(:action_dispatch)
          app.config.action_dispatch.rescue_responses.reverse_merge!(RESCUE_RESPONSES)
        end
      end

      class << self
        # Reads the configuration, once for each application.
        # @api private
        def configure(app)
          return if app.equal?(@configured)

          configuration = Configuration.new(app).tap(&:check)
          place(configuration, Announcer.new)
          RedisIPC.configuration.framework = Code.new(app, configuration.log_tags, *placements)
          Channel.action_on_unlisted_params = configuration.action_on_unlisted_params
          set_defaults(configuration, RedisIPC.configuration)
          LogSubscriber.attach_to(:redis_ipc)
          ErrorReporter.install
          EventReporter.install
          @configured = app
        end

        # Called when the application is ready for requests: its code is loaded, `after_initialize` blocks have run, its
        # routes and the reloading of its code are set up.
        # @api private
        def booted(app)
          # This block comes after the application's own, so the channels are the last to take over new code.
          app.reloader.to_prepare { Railtie.reload }
          Processes.booted(placements)
        end

        # Called when a web server has loaded the application.
        # @api private
        def server_booted
          Processes.server_booted(placements)
        end

        # Channels that cannot be loaded do not keep consumers from being reloaded later.
        # @api private
        def reload
          placements.each(&:outdate)
          placements.each(&:reload)
        end

        # @return [Worker] runs everything in this process
        # @api private
        def worker
          @announcer.speak_up
          Worker.new(*placements, @announcer)
        end

        private

        def placements
          [RedisIPC.channels, RedisIPC.consumers]
        end

        def place(configuration, announcer)
          @announcer = announcer
          RedisIPC.channels = Channels.new(configuration, announcer)
          RedisIPC.consumers = Consumers.new(configuration, announcer)
        end

        # What publishes, streams that are no channels, and JSON-RPC use the same Redis, unless an initializer says
        # otherwise.
        def set_defaults(configuration, defaults)
          redis = configuration.redis_options
          defaults.redis_options = redis if redis && defaults.redis_options.empty?
          configuration.shutdown_timeout&.then { |seconds| defaults.shutdown_timeout = seconds }
        end
      end

      # All initializers have run, so `config.redis_ipc` may be set in them. Code that asks at boot (in a `to_prepare`
      # or `after_initialize` block of the application, or while it is loaded) runs later.
      config.to_prepare { Railtie.configure(::Rails.application) }

      # Nothing comes after the Finisher's last initializer. `config.after_initialize` would be too early to answer:
      # routes and code reloading are set up later.
      ActiveSupport.on_load(:before_configuration, run_once: true) do
        ::Rails::Application::Finisher.initializer("redis_ipc.booted") { |app| Railtie.booted(app) }
      end

      # `Rails.application.load_server` in config.ru runs this.
      server { Railtie.server_booted }

      rake_tasks { load File.expand_path("rails/tasks.rake", __dir__) }
    end
  end
end
