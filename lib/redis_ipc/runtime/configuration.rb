# frozen_string_literal: true

# The defaults of the process: {RedisIPC.configure}.
module RedisIPC
  # The configuration has the defaults of the process for streams, channels, JSON-RPC servers and clients. An option
  # that is given to `connect`, {JSONRPC::Client#initialize} or {JSONRPC::Server#initialize} takes precedence.
  #
  # A process has one, {RedisIPC.configuration}. It is read when something connects; a change has no effect on streams
  # that are connected already.
  #
  # @example
  #   RedisIPC.configure do |config|
  #     config.redis_options = { url: "redis://queue.internal:6379/1" }
  #     config.logger = Logger.new($stdout)
  #     config.connect_options = { consumer: { pool_size: 8 } }
  #   end
  class Configuration
    include Undumpable

    # @return [Hash] redis-rb's options; `{}` (`REDIS_URL`, or localhost) until it is set. `redis_options:` of a
    #   connection replaces all of them: no password goes to another Redis
    attr_reader :redis_options
    # @return [Hash] options of {Stream#connect} and {Channel.connect}, nested Hashes too; `{}` until it is set
    attr_reader :connect_options
    # @return [Framework] the framework that surrounds the user's code
    # @api private
    attr_accessor :framework

    def initialize
      @redis_options = {}.freeze
      @connect_options = {}.freeze
      @framework = Framework.new
    end

    # @param options [Hash]
    # @raise [ConfigurationError] if it is no Hash
    def redis_options=(options)
      @redis_options = checked_hash(:redis_options, options)
    end

    # @param options [Hash] checked when something connects
    # @raise [ConfigurationError] if it is no Hash
    def connect_options=(options)
      @connect_options = checked_hash(:connect_options, options)
    end

    # @return [Object, nil] the logger; nil until it is set (in a Rails application `Rails.logger`)
    def logger
      @logger || framework.logger
    end

    # @param logger [Object, nil] one that has `error`, `warn` and `info`
    # @raise [ConfigurationError] if it has not
    def logger=(logger)
      @logger = Settings.check_logger(logger)
    end

    # @return [Numeric] seconds that running handlers are given when the process ends; 2 until it is set (5 in a Rails
    #   application)
    def shutdown_timeout
      @shutdown_timeout || framework.shutdown_timeout
    end

    # @param seconds [Numeric]
    # @raise [ConfigurationError] if it is no number of seconds, or negative
    def shutdown_timeout=(seconds)
      unless seconds.is_a?(Numeric) && seconds.real? && seconds >= 0
        raise ConfigurationError,
              "the option shutdown_timeout must be a number of seconds, at least 0, got #{seconds.inspect}"
      end

      @shutdown_timeout = seconds
    end

    # @param given [Hash] the options of one `connect`
    # @return [Hash] with those that it does not give
    # @api private
    def complete(given)
      Settings.override({ redis_options: redis_options, **connect_options }, given)
    end

    # Shows no options, because there may be a password among them.
    # @return [String]
    def inspect
      "#<#{self.class}>"
    end

    private

    def checked_hash(name, options)
      return options.dup.freeze if options.is_a?(Hash)

      # The value is left out, because it may contain a password.
      raise ConfigurationError, "the option #{name} must be a Hash, got a #{options.class}"
    end
  end

  @configuration = Configuration.new

  class << self
    # @return [Configuration] the defaults of the process
    attr_reader :configuration

    # @return [Framework]
    # @api private
    def framework
      @configuration.framework
    end

    # Sets defaults for all that connects from now on. Call it at boot: in Rails, in an initializer.
    # @yieldparam config [Configuration]
    # @return [Configuration]
    # @raise [ArgumentError] without a block
    # @raise [ConfigurationError] for a value of the wrong kind
    # @example
    #   RedisIPC.configure { |config| config.redis_options = { url: "redis://queue.internal:6379/1" } }
    def configure
      raise ArgumentError, "configure needs a block" unless block_given?

      yield configuration
      configuration
    end
  end
end
