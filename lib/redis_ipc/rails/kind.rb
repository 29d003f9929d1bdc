# frozen_string_literal: true

module RedisIPC
  module OnRails
    # One kind of class that an application has run: channels or consumers. It reads the options of that kind:
    # `channels`, `channels_path` and `channel_options`; `consumers` and so on.
    # @api private
    class Kind
      # @return [String] "channel" or "consumer"
      attr_reader :word
      # Sets the names of the classes that run, whatever the configuration names; nil leaves it to that.
      attr_writer :only

      # @param word [String]
      # @param base [Class] the class that all of them inherit from
      # @param starts [String] the method of a class that starts it
      # @param configuration [Configuration]
      # @yieldparam classes [Hash{String => Class}] by their names
      # @yieldreturn [Hash{String => Class}] those that are not only there for others to inherit from
      def initialize(word, base, starts, configuration, &runnable)
        @word = word
        @base = base
        @starts = starts
        @configuration = configuration
        @runnable = runnable
      end

      # @return [String] "channels" or "consumers"
      def plural
        "#{word}s"
      end

      # @return [Symbol] the option that names options of classes
      def options_name
        :"#{word}_options"
      end

      # @raise [ConfigurationError] if an option of this kind is of the wrong type
      def check
        named
        options
      end

      # @param name [String] of a class
      # @return [Boolean] whether it runs where processes run this kind
      def run?(name)
        return @only.include?(name) if @only

        named.nil? || named.include?(name)
      end

      # @return [Array<String>, nil] the classes that run; nil means all
      # @raise [ConfigurationError]
      def named
        variable = ENV.fetch("REDIS_IPC_#{plural.upcase}", nil)
        return variable.split(",").map(&:strip) if variable.present?

        names = @configuration.setting(plural.to_sym)
        return names && Array(names).map(&:to_s) if Array(names).all? { |name| name?(name) || name.is_a?(Class) }

        raise ConfigurationError, "the option #{plural} must be names of #{word} classes, got #{names.inspect}"
      end

      # @return [Regexp] matches the folders of these classes
      def path
        %r{(\A|/)#{Regexp.escape(@configuration.setting(:"#{plural}_path").to_s.chomp("/"))}\z}
      end

      # @return [Hash{Symbol => Hash}] options by the names of classes
      # @raise [ConfigurationError]
      def options
        options = @configuration.setting(options_name) || {}
        return options if options.is_a?(Hash) && options.each_value.all?(Hash)

        # The value is left out, because it may contain a password.
        raise ConfigurationError, "the option #{options_name} must have options of #{@starts} for each name of a class"
      end

      # @param one [Class]
      # @param common [Hash]
      # @return [Hash] those, under what is set for the classes above it and for itself
      def options_of(one, common)
        classes = one.ancestors.take_while { |above| !above.equal?(@base) }
        classes.reverse.filter_map { |above| options[above.name&.to_sym] }
               .inject(common) { |all, own| Settings.override(all, own) }
      end

      # @param object [Object]
      # @return [Boolean] whether it is a class of this kind
      def class?(object)
        object.is_a?(Class) && object < @base
      end

      # @param classes [Hash{String => Class}]
      # @return [Hash{String => Class}]
      def runnable(classes)
        @runnable.call(classes)
      end

      private

      def name?(value)
        value.is_a?(String) || value.is_a?(Symbol)
      end
    end
  end
end
