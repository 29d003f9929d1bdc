# frozen_string_literal: true

module RedisIPC
  # Turns redis-rb's options into JSON for the core: OpenSSL objects become PEM text, relative paths become absolute
  # (the process may change its directory), and callables are kept to be called at each login.
  # @api private
  class RedisOptions
    CALLABLE = %i[username password sentinel_username sentinel_password].freeze
    # Options of redis-rb that have no effect here, and whose values may be objects without a JSON form.
    OBJECTS = %i[logger driver custom middlewares circuit_breaker command_builder client_implementation].freeze
    PEM_OPTIONS = %i[cert key].freeze
    FILE_OPTIONS = %i[ca_file cert key].freeze
    # Tells the core to ask for a value at each login.
    ASKED = { callable: true }.freeze
    private_constant :CALLABLE, :OBJECTS, :PEM_OPTIONS, :FILE_OPTIONS, :ASKED

    # @return [Hash, Object] the options for the core, which refuses an object that is no Hash
    attr_reader :core
    # @return [Hash{Symbol => #call}] the callables, by option
    attr_reader :callables

    # @param options [Hash, Object] the option `redis_options`
    def initialize(options)
      @callables = {}.freeze
      @core = options
      convert(options.transform_keys { |key| key.is_a?(String) ? key.to_sym : key }) if options.is_a?(Hash)
      freeze
    end

    # Shows no passwords.
    # @return [String]
    def inspect
      "#<#{self.class}>"
    end

    private

    def convert(options)
      @callables = options.slice(*CALLABLE).select { |_, value| value.respond_to?(:call) }.freeze
      @core = options.except(*OBJECTS).merge(@callables.transform_values { ASKED })
      @core[:path] = absolute(@core[:path]) if @core.key?(:path)
      @core[:ssl_params] = ssl_params(@core[:ssl_params]) if @core[:ssl_params].is_a?(Hash)
    end

    def ssl_params(params)
      params = params.transform_keys { |key| key.is_a?(String) ? key.to_sym : key }
      texts = params.slice(*PEM_OPTIONS).transform_values { |pem| pem.respond_to?(:to_pem) ? pem.to_pem : pem }
      params = params.merge(texts)
      params.merge(params.slice(*FILE_OPTIONS).transform_values { |file| absolute(file) })
    end

    # Makes a path absolute, and returns PEM text and anything else as it is.
    def absolute(file)
      file = file.to_path if file.respond_to?(:to_path)
      return file if !file.is_a?(String) || file.empty? || file.include?("-----BEGIN") || file.include?("\0")

      File.absolute_path(file)
    end
  end
  private_constant :RedisOptions
end
