# frozen_string_literal: true

require_relative "support/house"

# Checks which folder may import which (docs/internals.md, "Layers"). Features (request_reply, json_rpc, events) never
# import each other, and no foundation imports a feature.
RSpec.describe "the imports between folders" do
  root = File.expand_path("..", __dir__)
  core = House::Crate.new(File.join(root, "ext/redis_ipc_core/src"))
  border = House::Crate.new(File.join(root, "ext/redis_ipc/src"))

  foundation = "foundation/redis"
  pipeline = "foundation/redis/pipeline"
  group_consumer = "foundation/redis/group_consumer"
  subscription = "foundation/redis/subscription"
  record = "foundation/redis/record"
  core_order = House::Order.new(
    "error" => [],
    "foundation/payload" => %w[error],
    "foundation/runtime" => %w[foundation/payload],
    "foundation/net" => %w[foundation/runtime],
    "foundation/postgres/pgoutput" => %w[foundation/payload],
    "foundation/postgres" => %w[foundation/net foundation/postgres/pgoutput],
    "foundation/redis/resp" => %w[foundation/payload],
    foundation => %w[foundation/net foundation/redis/resp],
    pipeline => [foundation],
    group_consumer => [foundation],
    subscription => [foundation],
    record => [foundation],
    "foundation" => [pipeline, group_consumer, subscription, record, "foundation/postgres"],
    "request_reply/protocol" => [pipeline, group_consumer, record],
    "request_reply/membership" => %w[request_reply/protocol],
    "request_reply/tracking" => %w[request_reply/membership],
    "request_reply/sending" => %w[request_reply/tracking],
    "request_reply/asking" => %w[request_reply/sending],
    "request_reply/serving" => %w[request_reply/sending],
    "request_reply" => %w[request_reply/asking request_reply/serving],
    "json_rpc" => [pipeline, record],
    "events/common" => [pipeline, group_consumer, subscription, record, "foundation/postgres"],
    "events/consumer_group" => %w[events/common],
    "events/lanes" => %w[events/common],
    "events/backlog" => %w[events/common],
    "events/live" => %w[events/backlog],
    "events/wal" => %w[events/backlog],
    "events/forward" => %w[events/wal],
    "events/recorded" => %w[events/common],
    "events" => %w[events/recorded events/consumer_group events/lanes events/live events/forward],
    "observer" => %w[request_reply json_rpc events]
  )

  # A feature of the border may import its own feature of the core.
  border_order = House::Order.new(
    "core/json" => [],
    "core/logins" => [],
    "core/panic_message" => [],
    "core/request_reply" => [],
    "core/json_rpc" => [],
    "core/events" => [],
    "core/observer" => [],
    "ruby" => %w[core/json core/logins core/panic_message],
    "codec" => %w[ruby],
    "request_reply" => %w[codec core/request_reply],
    "json_rpc" => %w[codec core/json_rpc],
    "events" => %w[codec core/events],
    "observer" => %w[request_reply events core/observer]
  )

  library = House::Library.new(File.join(root, "lib/redis_ipc"))
  library_order = House::Order.new(
    "version" => [],
    "errors" => [],
    "runtime" => %w[errors],
    "acl" => %w[runtime],
    "request_reply" => %w[runtime],
    "json_rpc" => %w[runtime],
    "events" => %w[runtime],
    "admin" => %w[acl request_reply json_rpc events],
    "rails" => %w[request_reply json_rpc events],
    "metrics" => %w[version request_reply json_rpc events],
    "probes" => %w[metrics],
    "open_telemetry" => %w[version request_reply json_rpc events],
    "cli" => %w[version acl rails web],
    "web" => %w[version admin probes],
    "testing" => %w[request_reply json_rpc events]
  )

  { "redis_ipc_core" => [core, core_order], "redis_ipc" => [border, border_order],
    "lib/redis_ipc" => [library, library_order] }.each do |name, (source, order)|
    describe name do
      it "has a place for every folder, and no cycle" do
        expect(order.folders.grep_v(/\Acore/)).to match_array(source.folders)
        expect(order.cycles).to eq([])
      end

      it "has no import in the wrong direction" do
        expect(order.wrong(source.imports)).to eq([])
      end
    end
  end

  describe "a wrong import" do
    it "is found in Rust, in every form" do
      [
        "use crate::request_reply::engine::Engine;",
        "use crate::{error::Error, request_reply::{engine, asking}};",
        "use crate::foundation::payload::{json::{self, check}, id};\nlet it = crate::json_rpc::client::Client::new();"
      ].each do |text|
        expect(core_order.wrong(core.imports_of("foundation/redis/link.rs", text))).not_to be_empty, text
      end
    end

    it "is found in Ruby, in every form" do
      [
        ["runtime/session.rb", "module RedisIPC\n  class Session\n    S = Stream\n  end\nend"],
        ["request_reply/stream.rb", "module RedisIPC\n  class Stream\n    JSONRPC::Client\n  end\nend"],
        ["errors/log_text.rb", "require_relative \"../runtime/settings\""]
      ].each do |file, text|
        expect(library_order.wrong(library.imports_of(file, text))).not_to be_empty, text
      end
    end

    it "is not found where there is none" do
      text = "module RedisIPC\n  module Tracing\n    ::OpenTelemetry.propagation\n  end\nend"
      expect(library.imports_of("runtime/tracing.rb", text)).to eq([])
      imports = core.imports_of("json_rpc/client.rs", "use crate::foundation::{payload::id, redis::link::Link};")
      expect(imports.map(&:to)).to eq(%w[foundation/payload foundation/redis])
      expect(core_order.wrong(imports)).to eq([])
    end
  end
end
