# frozen_string_literal: true

module RedisIPC
  module OnRails
    # The channels in app/ipc (of engines too), as they are loaded now.
    # @api private
    class ChannelFiles
      # @param configuration [Configuration]
      def initialize(configuration)
        @configuration = configuration
      end

      # Loads those that answer in this process.
      # @return [Hash{String => Class}]
      def load
        names.select { |name| @configuration.answer?(name) }.filter_map { |name| channel(name) }.to_h
      end

      # Loads all of them.
      def load_all
        names.each(&:constantize)
      end

      # @return [Boolean] whether the channel is one of them
      def include?(channel)
        name = channel.name
        name && @configuration.answer?(name) && folders.any? { |folder| names_in(folder).include?(name) }
      end

      private

      def names
        folders.flat_map { |folder| names_in(folder) }.uniq
      end

      def folders
        ActiveSupport::Dependencies.autoload_paths.map(&:to_s).grep(@configuration.channels_path)
      end

      def names_in(folder)
        Dir.glob("**/*.rb", base: folder).map { |file| file.delete_suffix(".rb").camelize }
      end

      # A class without `channel` is there for others to inherit from.
      def channel(name)
        found = name.constantize
        [name, found] if found.is_a?(Class) && found < Channel && found.channel
      end
    end
  end
end
