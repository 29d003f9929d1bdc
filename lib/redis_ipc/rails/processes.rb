# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Decides which processes answer and consume: servers and workers, not consoles, tasks, asset builds and generators.
    # @api private
    module Processes
      class << self
        # Leaves it to the caller what runs in this process.
        def leave
          @left = true
        end

        # Called when the application is loaded, in any process.
        # @param placements [Array<Placement>]
        def booted(placements)
          return if @left

          placements.each { |placement| placement.run_here if placement.way == true }
          serve_in_sidekiq(automatic(placements)) if sidekiq?
        end

        # Called when a web server has loaded config.ru. This process serves, or forks the processes that do.
        # @param placements [Array<Placement>]
        def server_booted(placements)
          return if @left

          placements.each { |placement| placement.run_in_children if placement.way == :in_children }
          automatic(placements).each { |placement| serve_where_it_should(placement) }
        end

        private

        def automatic(placements)
          placements.select { |placement| placement.way == :auto }
        end

        def serve_where_it_should(placement)
          return serve_in_passenger(placement) if passenger?

          forks_workers? ? placement.run_in_children : placement.run_here
        end

        def passenger?
          defined?(::PhusionPassenger) && ::PhusionPassenger.respond_to?(:on_event)
        end

        # Connects in Passenger's workers. Its preloader must not answer: Passenger kills it 5 s after a restart, while
        # it may run a handler.
        def serve_in_passenger(placement)
          ::PhusionPassenger.on_event(:starting_worker_process) { |_forked| placement.run_here }
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

        # All stop at the same time, so that none takes anything while another waits for its handlers.
        def serve_in_sidekiq(placements)
          ::Sidekiq.configure_server do |config|
            config.on(:startup) { placements.each(&:run_here) }
            config.on(:shutdown) { placements.map { |one| Thread.new { one.stop_here } }.each(&:join) }
          end
        end
      end
    end
  end
end
