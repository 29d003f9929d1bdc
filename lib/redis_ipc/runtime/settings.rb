# frozen_string_literal: true

module RedisIPC
  # The options of `connect`: those for Ruby apart from those for the core, which checks its own.
  # @api private
  class Settings
    LOG_METHODS = %i[error warn info].freeze
    # What the asker is told of an exception of a handler.
    REVEALED = %i[message class].freeze
    private_constant :LOG_METHODS, :REVEALED

    attr_reader :core, :callables, :logger, :reconnect_after_fork, :reveal_errors

    class << self
      # @param logger [Object, nil]
      # @return [Object, nil] the logger
      # @raise [ConfigurationError]
      def check_logger(logger)
        return logger if logger.nil? || LOG_METHODS.all? { |name| logger.respond_to?(name) }

        raise ConfigurationError, "the option logger must respond to #{LOG_METHODS.join(", ")}, got a #{logger.class}"
      end

      # What the core can read: nested Hashes of JSON's values. What is none of these is something that no option takes.
      # @param value [Object]
      # @return [Object]
      def plain(value)
        case value
        when Hash then value.transform_values { |one| plain(one) }
        when Array then value.map { |one| plain(one) }
        when nil, true, false, Integer, Float, String, Symbol then value
        else plain_object(value)
        end
      end

      # @param options [Hash]
      # @return [Array(Hash, Hash)] the options for the core, and what is called at each login
      def for_core(options)
        redis = RedisOptions.new(options[:redis_options])
        [plain(options.merge(redis_options: redis.core)).freeze, redis.callables]
      end

      # @return [Hash] the options of both; those above win, in nested Hashes too
      def merge(below, above)
        below.merge(above) { |_, old, new| old.is_a?(Hash) && new.is_a?(Hash) ? merge(old, new) : new }
      end

      private

      # ActiveSupport::Duration says that it is a number.
      def plain_object(object)
        return object.to_f if object.is_a?(Numeric) && object.real?

        Content.text?(object) ? object.to_s : { "an instance of" => ErrorText.class_name(object) }
      end
    end

    # @param options [Hash]
    # @raise [ConfigurationError]
    def initialize(options)
      options = options.dup
      @logger = Settings.check_logger(options.delete(:logger))
      @reconnect_after_fork = check_flag(:reconnect_after_fork, options.delete(:reconnect_after_fork))
      @reveal_errors = check_revealed(options.delete(:reveal_errors))
      @core, @callables = Settings.for_core(options)
      Native::Engine.check_options(@core)
      freeze
    rescue ContentError => e
      raise ConfigurationError, "an option cannot be read: #{e.message}"
    end

    # Ruby's own would show the passwords, also in what it says of a missing method or in an error tracker.
    # @return [String]
    def inspect
      "#<#{self.class}>"
    end

    private

    def check_flag(name, value)
      return true if value.nil?
      return value if [true, false].include?(value)

      raise ConfigurationError, "the option #{name} must be true or false, got #{value.inspect}"
    end

    def check_revealed(value)
      return REVEALED.first if value.nil?

      REVEALED.find { |name| name == value || name.name == value } ||
        raise(ConfigurationError, "the option reveal_errors must be :message or :class, got #{value.inspect}")
    end
  end
end
