# frozen_string_literal: true

module RedisIPC
  # What the Rust extension (ext/redis_ipc) defines: for this library alone.
  # @api private
  module Native
    # A platform gem brings one library for each Ruby. What was built on the spot, RubyGems puts beside the sources as
    # redis_ipc/redis_ipc.so (3.6 does) or as redis_ipc.so (3.3, and `rake compile`).
    BUILT = %w[redis_ipc/redis_ipc.so redis_ipc.so].freeze
    private_constant :BUILT

    # @return [String] what to require
    # @raise [LoadError] if there are libraries for other Rubies only
    def self.library(folder: __dir__, ruby: RUBY_VERSION[/\A\d+\.\d+/])
      precompiled = Dir.glob("*.*/redis_ipc.so", base: folder).to_h { |file| [File.dirname(file), file] }
      return built if precompiled.empty?

      File.join(folder, precompiled.fetch(ruby) do
        raise LoadError, "this platform gem of redis_ipc has no library for Ruby #{ruby} (it has those for " \
                         "#{precompiled.keys.sort.join(", ")}): gem install redis_ipc --platform ruby builds one"
      end)
    end

    def self.built
      BUILT.find { |file| $LOAD_PATH.resolve_feature_path(file) } || BUILT.last
    end
    private_class_method :built
  end
end

require RedisIPC::Native.library
