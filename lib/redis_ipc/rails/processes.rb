# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Decides which processes answer: servers and workers, not consoles, tasks, asset builds and generators.
    # @api private
    module Processes
      class << self
        # Called when the application is loaded, in any process.
        def booted(channels)
          case channels.way
          when true then channels.connect
          when :auto then serve_in_sidekiq(channels) if sidekiq?
          end
        end

        # Called when a web server has loaded config.ru. This process serves, or forks the processes that do.
        def server_booted(channels)
          case channels.way
          when :in_children then channels.connect_in_children
          when :auto then serve_where_it_should(channels)
          end
        end

        private

        def serve_where_it_should(channels)
          return serve_in_passenger(channels) if passenger?

          forks_workers? ? channels.connect_in_children : channels.connect
        end

        def passenger?
          defined?(::PhusionPassenger) && ::PhusionPassenger.respond_to?(:on_event)
        end

        # Connects in Passenger's workers. Its preloader must not answer: Passenger kills it 5 s after a restart, while
        # it may run a handler.
        def serve_in_passenger(channels)
          ::PhusionPassenger.on_event(:starting_worker_process) { |_forked| channels.connect }
        end

        # Returns whether this process only forks workers; such a parent runs no handlers.
        def forks_workers?
          options = puma_options
          !options.nil? && options[:workers].to_i.positive? && !!options[:preload_app]
        end

        # Returns Puma's options, which are known if Puma was started by its own command.
        def puma_options
          ::Puma.cli_config&.options if defined?(::Puma) && ::Puma.respond_to?(:cli_config)
        end

        def sidekiq?
          defined?(::Sidekiq) && ::Sidekiq.respond_to?(:server?) && ::Sidekiq.server?
        end

        def serve_in_sidekiq(channels)
          ::Sidekiq.configure_server do |config|
            config.on(:startup) { channels.connect }
            config.on(:shutdown) { channels.disconnect }
          end
        end
      end
    end
  end
end
