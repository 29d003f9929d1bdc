# frozen_string_literal: true

module RedisIPC
  # What the Rust extension (ext/redis_ipc) defines: for this library alone.
  # @api private
  module Native
    # A platform gem brings one library for each Ruby; the source gem and the checkout have what was built there.
    # @return [String] what to require
    # @raise [LoadError] if the libraries are for other Rubies
    def self.library(folder: __dir__, ruby: RUBY_VERSION[/\A\d+\.\d+/])
      precompiled = Dir.glob("*.*/redis_ipc.so", base: folder).to_h { |file| [File.dirname(file), file] }
      return "redis_ipc.so" if precompiled.empty?

      File.join(folder, precompiled.fetch(ruby) do
        raise LoadError, "this platform gem of redis_ipc has no library for Ruby #{ruby} (it has those for " \
                         "#{precompiled.keys.sort.join(", ")}): gem install redis_ipc --platform ruby builds one"
      end)
    end
  end
end

require RedisIPC::Native.library
