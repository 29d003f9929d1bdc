# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Which processes answer: servers and workers, not consoles, tasks, asset builds and generators.
    # @api private
    module Processes
      class << self
        # The application is loaded, whatever for.
        def booted(channels)
          case channels.way
          when true then channels.connect
          when :auto then serve_in_sidekiq(channels) if sidekiq?
          end
        end

        # A web server has loaded config.ru: this process serves, or forks those that do.
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

        # Not in the preloader that Passenger forks its workers from: it kills that 5 s after a restart, in the midst of
        # what it runs.
        def serve_in_passenger(channels)
          ::PhusionPassenger.on_event(:starting_worker_process) { |_forked| channels.connect }
        end

        # A parent that only forks should run nobody's handlers.
        def forks_workers?
          options = puma_options
          !options.nil? && options[:workers].to_i.positive? && !!options[:preload_app]
        end

        # Known where Puma was started by its own command.
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
