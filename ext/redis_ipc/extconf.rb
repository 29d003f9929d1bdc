# frozen_string_literal: true

# RubyGems runs this before it lets Cargo build (redis_ipc.gemspec names both). It builds nothing. It looks for what the
# build takes, because the messages of a failed build do not say what to install.

require_relative "requirements"

unless ENV["REDIS_IPC_CHECK"] == "no"
  missing = BuildRequirements.new(for_gem: true).missing
  abort BuildAdvice.new(missing).to_s if missing.any?
end

# RubyGems calls make for what this leaves.
File.write("Makefile", "all clean distclean install:\n\t@:\n")
