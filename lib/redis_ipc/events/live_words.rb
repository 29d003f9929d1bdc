# frozen_string_literal: true

module RedisIPC
  module Events
    # Checks what a consumer class declares about channels or keys.
    # @api private
    module LiveWords
      # The options of each declaration.
      MESSAGES = %i[json type overflow].freeze
      OPTIONS = { channel: MESSAGES, pattern: MESSAGES, shard_channel: MESSAGES, keys: %i[on value fields overflow],
                  tracking: %i[overflow] }.freeze
      # An example of a name, for messages.
      NAMES = Hash.new("prices").merge(keys: "session:*", tracking: "user:*").freeze
      # The declarations whose events are ordered by key.
      OF_KEYS = %i[keys tracking].freeze
      # The allowed values, and their names in the core.
      OVERFLOW = { drop_oldest: "drop_oldest", drop_newest: "drop_newest", block: "block" }.freeze
      MESSAGE_ORDER = { channel: "channel", source: "source", none: "none" }.freeze
      KEY_ORDER = { key: "channel", source: "source", none: "none" }.freeze
      private_constant :MESSAGES, :OPTIONS, :NAMES, :OF_KEYS, :OVERFLOW, :MESSAGE_ORDER, :KEY_ORDER

      class << self
        # @param who [String] the class
        # @param kind [Symbol] the declaration: `:channel`, `:pattern`, `:shard_channel`, `:keys` or `:tracking`
        # @param names [Array<String, Symbol>]
        # @param options [Hash]
        # @return [Array(Array<String>, Hash)] the names, and the checked options
        # @raise [ConfigurationError]
        def source(who, kind, names, options)
          Check.refuse("#{kind} of #{who} needs a name: #{kind} \"#{NAMES[kind]}\"") if names.empty?
          Check.known(who, kind.name, options, OPTIONS[kind])
          type = options[:type]&.then { |name| Check.named("type: of #{kind}, the name of a field,", name) }
          overflow = one_of("overflow: of #{kind} of #{who}", options.fetch(:overflow, :drop_oldest), OVERFLOW)
          flags = %i[json value fields].to_h { |flag| [flag, Check.flag(who, kind, flag, options)] }
          [different(who, kind, names),
           { **flags, type: type, on: happened(who, options[:on]), overflow: overflow }]
        end

        # @param who [String] the class
        # @param kind [Symbol] the declaration of the source
        # @param order [Symbol]
        # @param options [Hash]
        # @return [String] the checked order, as the core takes it
        # @raise [ConfigurationError]
        def order(who, kind, order, options)
          Check.known(who, "order #{order.inspect}", options, [])
          one_of("the order of #{who}", order, of_keys?(kind) ? KEY_ORDER : MESSAGE_ORDER)
        end

        # @param kind [Symbol] the word
        # @return [Boolean] whether its events are ordered by key
        def of_keys?(kind)
          OF_KEYS.include?(kind)
        end

        private

        def one_of(what, given, known)
          known.fetch(given) do
            Check.refuse("#{what} must be one of #{known.keys.map(&:inspect).join(", ")}, got #{given.inspect}")
          end
        end

        def different(who, kind, names)
          names = names.map { |name| Check.named("the name of a #{kind}", name) }
          twice = names.tally.key(2)
          Check.refuse("#{kind} of #{who} names #{LogText.of(twice)} twice") if twice
          names
        end

        # @return [Array<String>, nil] the names of the wanted key events; nil means all
        def happened(who, given)
          return if given.nil?

          Check.refuse("on: of keys of #{who} needs a name, such as :expired") if Array(given).empty?
          different(who, "on:", Array(given))
        end
      end
    end
    private_constant :LiveWords
  end
end
