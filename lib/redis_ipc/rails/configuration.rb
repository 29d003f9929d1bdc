# frozen_string_literal: true

require_relative "kind"

module RedisIPC
  module OnRails
    # Reads config/redis_ipc.yml and `config.redis_ipc`: the options of `connect`, and those for Rails.
    # @api private
    class Configuration
      # @return [Hash{Symbol => Object}] the defaults of the options for Rails
      DEFAULTS = {
        connect: :auto, channels: nil, channels_path: "app/ipc", channel_options: nil,
        consume: nil, consumers: nil, consumers_path: "app/events", consumer_options: nil,
        shutdown_timeout: nil, action_on_unlisted_params: nil,
        log_tags: ["redis_ipc", :destination_group, :id, :correlation_id].freeze
      }.freeze
      WAYS = [:auto, :in_children, true, false].freeze
      ACTIONS = [false, :log, :raise].freeze
      CONNECT = "REDIS_IPC_CONNECT"
      CONSUME = "REDIS_IPC_CONSUME"
      # What channels and consumers have in common.
      COMMON = %i[redis_options logger reconnect_after_fork].freeze
      private_constant :WAYS, :ACTIONS, :CONNECT, :CONSUME, :COMMON

      # @param app [Rails::Application]
      def initialize(app)
        @values = Settings.merge(from_file(app), plain(app.config.redis_ipc))
      end

      # Shows no values, because there is a password among them.
      # @return [String]
      def inspect
        "#<#{self.class}>"
      end

      # @return [Symbol, Boolean] which processes connect channels by themselves: `:auto`, `:in_children`, true or false
      # @raise [ConfigurationError]
      def connect
        checked_way(:connect, CONNECT, setting(:connect))
      end

      # @return [Symbol, Boolean] which processes start consumers by themselves; those that connect channels, unless it
      #   is set
      # @raise [ConfigurationError]
      def consume
        way = setting(:consume)
        checked_way(:consume, CONSUME, way.nil? ? connect : way)
      end

      # @return [Kind] the channels in app/ipc. A class without `channel` is only there for others to inherit from
      def channels
        @channels ||= Kind.new("channel", Channel, "connect", self) { |all| all.select { |_, one| one.group_name } }
      end

      # @return [Kind] the consumers in app/events
      def consumers
        @consumers ||= Kind.new("consumer", Events::Consumer, "start", self) do |all|
          runnable = Events::Hosting.runnable(all.values)
          all.select { |_, one| runnable.include?(one) }
        end
      end

      # @raise [ConfigurationError] if an option that names classes is of the wrong type
      def check
        [channels, consumers].each(&:check)
      end

      # @return [Hash, nil] those of all channels and consumers
      def redis_options
        @values[:redis_options]
      end

      # @return [Object, nil] for {RedisIPC::Configuration#shutdown_timeout=}, which checks it; nil if it is not set
      def shutdown_timeout
        setting(:shutdown_timeout)
      end

      # @return [Array] the tags of handlers' log lines
      # @raise [ConfigurationError]
      def log_tags
        tags = Array(setting(:log_tags))
        wrong = tags.reject do |tag|
          tag.is_a?(Symbol) ? Entry.method_defined?(tag) : tag.is_a?(String) || tag.is_a?(Proc)
        end
        return tags if wrong.empty?

        raise ConfigurationError,
              "the option log_tags must be text, names of Entry's methods and procs, got #{wrong.first.inspect}"
      end

      # @return [Symbol, false] the value for {Channel.action_on_unlisted_params=}
      # @raise [ConfigurationError]
      def action_on_unlisted_params
        action = setting(:action_on_unlisted_params)
        action = ::Rails.env.development? || ::Rails.env.test? ? :log : false if action.nil?
        action = action.to_sym if action.is_a?(String)
        return action if ACTIONS.include?(action)

        raise ConfigurationError,
              "the option action_on_unlisted_params must be false, log or raise, got #{action.inspect}"
      end

      # @param channel [Class]
      # @return [Hash] the options for {Channel.connect}: those of all channels, of the classes above, and of its own
      def connect_options(channel)
        channels.options_of(channel, revealing.merge(@values.except(*DEFAULTS.keys)))
      end

      # @param consumer [Class]
      # @return [Hash] the options for {Events::Consumer.start}: what channels and consumers have in common, unless the
      #   class says it, and those of `consumer_options`
      def start_options(consumer)
        common = @values.slice(*COMMON).except(*Events::Hosting.options(consumer).keys)
        consumers.options_of(consumer, common)
      end

      # @param name [Symbol] of one of the options for Rails
      # @return [Object, nil] its value, or its default
      def setting(name)
        @values.fetch(name, DEFAULTS.fetch(name))
      end

      private

      # Returns how much of an exception the asker is told, unless the application sets it for the whole process.
      def revealing
        return {} if RedisIPC.configuration.connect_options.key?(:reveal_errors)

        { reveal_errors: ::Rails.env.production? ? :class : :message }
      end

      def checked_way(option, variable, given)
        way = ENV[variable].blank? ? given : from_environment(variable)
        way = way.to_sym if way.is_a?(String)
        return way if WAYS.include?(way)

        raise ConfigurationError, "the option #{option} must be auto, in_children, true or false, got #{way.inspect}"
      end

      def from_environment(variable)
        { "true" => true, "1" => true, "false" => false, "0" => false }.fetch(ENV.fetch(variable)) { |other| other }
      end

      # An application without the file has the defaults.
      def from_file(app)
        file = app.paths["config"].existent.first&.then { |folder| File.join(folder, "redis_ipc.yml") }
        file && File.exist?(file) ? plain(app.config_for(:redis_ipc)) : {}
      end

      def plain(options)
        options.to_h.to_h { |key, value| [key.to_s.to_sym, value.is_a?(Hash) ? plain(value) : value] }
      end
    end
  end
end
