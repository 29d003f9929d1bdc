# frozen_string_literal: true

require "rbconfig"

module RedisIPC
  # Finds the compiled library for this Ruby. A library that was compiled for another Ruby would load, and crash later.
  # @api private
  module Library
    # A library serves the Rubies of this version on this system.
    ABI = RbConfig::CONFIG.values_at("arch", "ruby_version").join("-").freeze
    # A platform gem has a folder for each Ruby version; `rake compile` makes one for each ABI.
    FOLDERS = [ABI, RUBY_VERSION[/\A\d+\.\d+/]].freeze
    # RubyGems keeps what it builds apart by ABI. It puts that on the load path as redis_ipc/redis_ipc.so (3.6) or as
    # redis_ipc.so (3.3).
    BUILT = %w[redis_ipc/redis_ipc.so redis_ipc.so].freeze
    private_constant :FOLDERS, :BUILT

    class << self
      # @return [String] the feature to require
      # @raise [LoadError] if there is no library for this Ruby
      def path(folder: __dir__)
        there = Dir.glob("*/redis_ipc.so", base: folder).map { |file| File.dirname(file) }.sort
        mine = FOLDERS.find { |name| there.include?(name) }
        return File.join(folder, mine, "redis_ipc.so") if mine

        built = BUILT.find { |file| $LOAD_PATH.resolve_feature_path(file) } if there.empty?
        built || raise(LoadError, none(there, File.expand_path("../..", folder)))
      end

      private

      def none(there, root)
        others = " (it has those for #{there.join(", ")})" if there.any?
        "redis_ipc has no library for Ruby #{RUBY_VERSION}, #{ABI}#{others}. To get one: #{remedy(there, root)}"
      end

      def remedy(there, root)
        return "run `rake compile` in #{root}" if File.exist?(File.join(root, "Rakefile"))

        there.any? ? "gem install redis_ipc --platform ruby" : "gem pristine redis_ipc --extensions"
      end
    end
  end
end
