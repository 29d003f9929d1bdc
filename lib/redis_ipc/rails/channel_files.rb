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

      # Loads them all.
      # @return [Hash{String => Class}] those that answer in this process
      def load
        names = folders.flat_map { |folder| names_in(folder) }.uniq
        names.select { |name| @configuration.answer?(name) }.filter_map { |name| channel(name) }.to_h
      end

      # @return [Boolean] whether the channel is one of them
      def include?(channel)
        name = channel.name
        name && @configuration.answer?(name) && folders.any? { |folder| names_in(folder).include?(name) }
      end

      private

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
