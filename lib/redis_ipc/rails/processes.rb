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
          when :auto then forks_workers? ? channels.connect_in_children : channels.connect
          end
        end

        private

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
