# frozen_string_literal: true

module RedisIPC
  # The options of `connect`, split into those for Ruby, checked here, and those for the core, which checks its own.
  # @api private
  class Settings
    LOG_METHODS = %i[error warn info].freeze
    # The parts of a handler's exception that the asker may be told.
    REVEALED = %i[message class].freeze
    # How deep Hashes and Arrays may be nested: as deep as the core reads.
    MAX_NESTING = 100
    private_constant :LOG_METHODS, :REVEALED, :MAX_NESTING

    attr_reader :core, :callables, :logger, :reconnect_after_fork, :reveal_errors

    class << self
      # @param logger [Object, nil]
      # @return [Object, nil] the logger
      # @raise [ConfigurationError]
      def check_logger(logger)
        return logger if logger.nil? || LOG_METHODS.all? { |name| logger.respond_to?(name) }

        raise ConfigurationError, "the option logger must respond to #{LOG_METHODS.join(", ")}, got a #{logger.class}"
      end

      # Turns options into nested Hashes of JSON's values, for the core. An object of another kind becomes one that no
      # option accepts.
      # @param value [Object]
      # @param path [Array] the names that lead to it
      # @return [Object]
      # @raise [ConfigurationError] if it has no form in JSON
      def plain(value, path = [])
        refuse(path, "is nested too deep, or contains itself") if path.size > MAX_NESTING

        case value
        when Hash then plain_hash(value, path)
        when Array then value.map.with_index { |one, index| plain(one, [*path, index]) }
        when nil, true, false, Integer then value
        when String, Symbol then text(value, path)
        else plain_object(value, path)
        end
      end

      # @return [Boolean] true for nil
      # @raise [ConfigurationError]
      def check_flag(name, value)
        return true if value.nil?
        return value if [true, false].include?(value)

        raise ConfigurationError, "the option #{name} must be true or false, got #{value.inspect}"
      end

      # @param options [Hash]
      # @return [Array(Hash, Hash)] the options for the core, and the callables of each login
      def for_core(options)
        redis = RedisOptions.new(options[:redis_options])
        [plain(options.merge(redis_options: redis.core)).freeze, redis.callables]
      end

      # @return [Hash] the options of both, in nested Hashes too; those of `above` take precedence
      def merge(below, above)
        below.merge(above) { |_, old, new| old.is_a?(Hash) && new.is_a?(Hash) ? merge(old, new) : new }
      end

      # @return [Hash] as {merge}; but another Redis replaces the one below whole, so that no password is sent to the
      #   wrong server
      def override(below, above)
        merge(below, above).merge(above.slice(:redis_options))
      end

      private

      def plain_hash(hash, path)
        twice = hash.keys.map(&:to_s).tally.key(2)
        refuse(path, "has two names that are #{twice.inspect}") if twice

        hash.to_h { |key, value| [text(key, path).to_sym, plain(value, [*path, key])] }
      end

      # It is checked here, so that no content of it is shown.
      def text(value, path)
        text = value.to_s.encode(Encoding::UTF_8)
        text.valid_encoding? ? text : raise(EncodingError)
      rescue EncodingError
        refuse(path, "is a String that is no text (binary, or in a broken encoding)")
      end

      # ActiveSupport::Duration claims to be a number.
      def plain_object(object, path)
        return finite(object.to_f, path) if object.is_a?(Numeric) && object.real?

        Content.text?(object) ? text(object, path) : { "an instance of" => ErrorText.class_name(object) }
      end

      def finite(number, path)
        number.finite? ? number : refuse(path, "is #{number}")
      end

      def refuse(path, why)
        name = path.empty? ? "the Hash of options" : path.join(".")
        raise ConfigurationError, "an option cannot be read: #{name} #{why}"
      end
    end

    # @param options [Hash]
    # @raise [ConfigurationError]
    def initialize(options)
      options = options.dup
      @logger = Settings.check_logger(options.delete(:logger))
      @reconnect_after_fork = Settings.check_flag(:reconnect_after_fork, options.delete(:reconnect_after_fork))
      @reveal_errors = check_revealed(options.delete(:reveal_errors))
      @core, @callables = Settings.for_core(options)
      Native::Engine.check_options(@core)
      freeze
    end

    # Shows no passwords. Ruby's own `inspect` would, also in an error tracker and in a NoMethodError.
    # @return [String]
    def inspect
      "#<#{self.class}>"
    end

    private

    def check_revealed(value)
      return REVEALED.first if value.nil?

      REVEALED.find { |name| name == value || name.name == value } ||
        raise(ConfigurationError, "the option reveal_errors must be :message or :class, got #{value.inspect}")
    end
  end
end
