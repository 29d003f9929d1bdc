# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Reads config/redis_ipc.yml and `config.redis_ipc`: the options of `connect`, and those for Rails.
    # @api private
    class Configuration
      # @return [Hash{Symbol => Object}] the defaults of the options for Rails
      DEFAULTS = {
        connect: :auto, channels: nil, channels_path: "app/ipc", channel_options: nil, shutdown_timeout: nil,
        action_on_unlisted_params: nil,
        log_tags: ["redis_ipc", :destination_group, :id, :correlation_id].freeze
      }.freeze
      WAYS = [:auto, :in_children, true, false].freeze
      ACTIONS = [false, :log, :raise].freeze
      CONNECT = "REDIS_IPC_CONNECT"
      CHANNELS = "REDIS_IPC_CHANNELS"
      private_constant :WAYS, :ACTIONS, :CONNECT, :CHANNELS

      # @param app [Rails::Application]
      def initialize(app)
        @values = Settings.merge(from_file(app), plain(app.config.redis_ipc))
      end

      # Shows no values, because there is a password among them.
      # @return [String]
      def inspect
        "#<#{self.class}>"
      end

      # @return [Symbol, Boolean] which processes connect by themselves: `:auto`, `:in_children`, true or false
      # @raise [ConfigurationError]
      def connect
        way = ENV[CONNECT].blank? ? setting(:connect) : from_environment
        way = way.to_sym if way.is_a?(String)
        return way if WAYS.include?(way)

        raise ConfigurationError, "the option connect must be auto, in_children, true or false, got #{way.inspect}"
      end

      # @param name [String] of a channel class
      # @return [Boolean] whether it is one of those that answer where processes do
      def answer?(name)
        named.nil? || named.include?(name)
      end

      # @return [Array<String>, nil] the channel classes that answer; nil means all
      # @raise [ConfigurationError]
      def named
        return ENV.fetch(CHANNELS).split(",").map(&:strip) if ENV[CHANNELS].present?

        names = setting(:channels)
        return names && Array(names).map(&:to_s) if Array(names).all? { |name| name?(name) || name.is_a?(Class) }

        raise ConfigurationError, "the option channels must be names of channel classes, got #{names.inspect}"
      end

      # @return [Regexp] matches the folders of channels
      def channels_path
        %r{(\A|/)#{Regexp.escape(setting(:channels_path).to_s.chomp("/"))}\z}
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
        common = revealing.merge(@values.except(*DEFAULTS.keys))
        classes = channel.ancestors.take_while { |one| !one.equal?(Channel) }
        classes.reverse.filter_map { |one| channel_options[one.name&.to_sym] }.inject(common) do |options, own|
          # A channel with another Redis replaces them all, so that the first password is not sent there.
          Settings.merge(options, own).merge(own.slice(:redis_options))
        end
      end

      # @return [Hash{Symbol => Hash}] by the names of channel classes
      # @raise [ConfigurationError]
      def channel_options
        options = setting(:channel_options) || {}
        return options if options.is_a?(Hash) && options.each_value.all?(Hash)

        # The value is left out, because it may contain a password.
        raise ConfigurationError, "the option channel_options must have options of connect for each name of a class"
      end

      private

      # Returns how much of an exception the asker is told, unless the application sets it for the whole process.
      def revealing
        return {} if RedisIPC.configuration.connect_options.key?(:reveal_errors)

        { reveal_errors: ::Rails.env.production? ? :class : :message }
      end

      def name?(value)
        value.is_a?(String) || value.is_a?(Symbol)
      end

      def setting(name)
        @values.fetch(name, DEFAULTS.fetch(name))
      end

      def from_environment
        { "true" => true, "1" => true, "false" => false, "0" => false }.fetch(ENV.fetch(CONNECT)) { |other| other }
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
