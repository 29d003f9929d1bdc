# frozen_string_literal: true

# RubyGems runs this before it lets Cargo build (redis_ipc.gemspec names both). It builds nothing. It looks for what the
# build takes, because the messages of a failed build do not say what to install.

require_relative "../redis_ipc/requirements"

unless ENV["REDIS_IPC_CHECK"] == "no"
  requirements = BuildRequirements.new(for_gem: true)
  requirements.doubts.each { |doubt| warn "This may be missing, and building goes on: #{doubt}" }
  abort BuildAdvice.new(requirements.missing).to_s if requirements.missing.any?
end

# RubyGems calls make for what this leaves.
File.write("Makefile", "all clean distclean install:\n\t@:\n")
