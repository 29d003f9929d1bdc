# frozen_string_literal: true

require_relative "lib/redis_ipc/version"

Gem::Specification.new do |spec|
  spec.name = "redis_ipc"
  spec.version = RedisIPC::VERSION
  spec.authors = ["The redis_ipc maintainers"]
  spec.summary = "Request/reply between Ruby processes, and events in order, through the Redis they already run"
  spec.description = "Ruby processes (Rails web, workers, bots, scripts) ask each other things through Redis " \
                     "streams, with deadlines and delivery guarantees, and call methods by JSON-RPC. They handle " \
                     "events in order by key: what is added to Redis streams or changed in PostgreSQL at least once, " \
                     "and messages of Pub/Sub and keyspace notifications with a note of what was missed. A Rust core " \
                     "does the work; it blocks instead of polling at an interval."
  spec.homepage = "https://github.com/redis-ipc/redis_ipc"
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.1"
  spec.required_rubygems_version = ">= 3.3.11"
  spec.metadata = {
    "rubygems_mfa_required" => "true",
    "changelog_uri" => "#{spec.homepage}/blob/main/CHANGELOG.md",
    "source_code_uri" => spec.homepage
  }

  # Of the examples, those that Cargo.toml or the README names. No tests and benchmarks.
  spec.files = Dir[
    "lib/**/*.{rb,rake,tt,erb,css,js,svg}", "exe/*", "sig/**/*.rbs", "ext/*/Cargo.toml", "ext/*/src/**/*.rs",
    "ext/check/*.rb", "ext/redis_ipc/*.{c,rb}", "ext/*/examples/{member,failpoints}.rs", "Cargo.{toml,lock}",
    "docs/*.md", "README.md", "CHANGELOG.md", "LICENSE"
  ] - Dir["ext/*/src/**/{*_tests,tests,fake,fake_server,fixture}.rs"]
  spec.require_paths = ["lib"]
  spec.bindir = "exe"
  spec.executables = ["redis_ipc"]
  # RubyGems (3.3.11 and later) builds a Cargo crate by itself and installs it as redis_ipc.so. The extconf.rb before it
  # looks for what that takes, and says what is missing. RubyGems 3.6 sorts these paths: the check has to sort first.
  spec.extensions = ["ext/check/extconf.rb", "ext/redis_ipc/Cargo.toml"]
end
