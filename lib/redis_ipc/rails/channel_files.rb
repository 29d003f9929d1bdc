# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Finds and loads the channels in app/ipc, of engines too.
    # @api private
    class ChannelFiles
      # @param configuration [Configuration]
      def initialize(configuration)
        @configuration = configuration
      end

      # @raise [ConfigurationError] if an option names a channel that does not exist
      def check
        check_names(:channels, @configuration.named.to_a - names)
        missing = @configuration.channel_options.keys.map(&:to_s) - names
        check_names(:channel_options, missing.reject { |name| channel_class?(name.safe_constantize) })
      end

      # Loads the channels that answer in this process.
      # @return [Hash{String => Class}]
      def load
        channels(names.select { |name| @configuration.answer?(name) })
      end

      # Loads all channels.
      # @return [Array<Class>] without the classes that only others inherit from
      def all
        channels(names).values
      end

      # @return [Hash{String => Time}] when each file was changed
      def times
        files = folders.flat_map { |folder| Dir.glob("#{folder}/**/*.rb") }
        files.to_h { |file| [file, (File.mtime(file) if File.exist?(file))] }
      rescue Errno::ENOENT
        # A file was deleted in between.
        retry
      end

      # Loads all files.
      def load_all
        names.each(&:constantize)
      end

      # @return [Boolean] whether the channel is in one of the folders
      def include?(channel)
        name = channel.name
        name && @configuration.answer?(name) && folders.any? { |folder| names_in(folder).include?(name) }
      end

      private

      def check_names(option, missing)
        return if missing.empty?

        raise ConfigurationError,
              "the option #{option} names #{missing.join(", ")}, but there are: #{names.sort.join(", ")}"
      end

      def channels(names)
        names.filter_map { |name| channel(name) }.to_h
      end

      def channel_class?(object)
        object.is_a?(Class) && object < Channel
      end

      def names
        folders.flat_map { |folder| names_in(folder) }.uniq
      end

      def folders
        roots.grep(@configuration.channels_path)
      end

      # Leaves out folders inside that are autoload paths themselves: concerns.
      def names_in(folder)
        files = Dir.glob("#{folder}/**/*.rb")
        inner = roots.select { |root| root.start_with?("#{folder}/") }
        files.reject { |file| inner.any? { |root| file.start_with?("#{root}/") } }.map { |file| name(folder, file) }
      end

      # Returns the name of the class that the autoloader expects in a file.
      def name(folder, file)
        words = file.delete_prefix("#{folder}/").delete_suffix(".rb").split("/")
        words.map { |word| inflector ? inflector.camelize(word, file) : word.camelize }.join("::")
      end

      # Rails 6.1's classic autoloader has none.
      def inflector
        ::Rails.autoloaders.main&.inflector
      end

      def roots
        ActiveSupport::Dependencies.autoload_paths.map(&:to_s)
      end

      # A class without `channel` is only there for others to inherit from.
      def channel(name)
        found = name.constantize
        [name, found] if channel_class?(found) && found.group_name
      end
    end
  end
end
