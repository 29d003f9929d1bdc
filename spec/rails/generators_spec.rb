# frozen_string_literal: true

require "erb"
require "open3"
require "yaml"

RSpec.describe "the generators", timeout: 200 do
  let(:app) { RailsApp.new }

  after { app.stop }

  def generate(*arguments)
    app.run("Rails.application.load_generators; Rails::Generators.invoke(*#{arguments.inspect})")
  end

  def read(file)
    File.read(File.join(app.folder, file))
  end

  def in_folder(*command)
    Open3.capture2e({ "RUBYLIB" => RailsApp::LIBRARY, "REDIS_URL" => "redis://127.0.0.1:1/0" }, *command,
                    chdir: app.folder).first
  end

  def write_test_helper
    app.write("test/test_helper.rb", <<~RUBY)
      ENV["RAILS_ENV"] = "production"
      require_relative "../config/environment"
      require "active_support/test_case"
      require "minitest/autorun"
    RUBY
  end

  it "write what makes an application ready, and a channel with a spec that passes" do
    # This is an application that has none of the files yet.
    %w[app/ipc config/redis_ipc.yml].each { |name| FileUtils.rm_r(File.join(app.folder, name)) }
    app.write("config.ru", "require_relative \"config/environment\"\nrun Rails.application\n")
    app.write("config/puma.rb", "# plugin :redis_ipc\nworkers 2")
    application = File.join(app.folder, "config/application.rb")
    before = File.mtime(application)
    generate("redis_ipc:install", ["--stream", "shop"])
    # The newer time makes Spring restart, so that it sees the folder.
    expect(touched = File.mtime(application)).to be > before
    generate("redis_ipc:install", ["--stream", "shop"])
    expect(File.mtime(application)).to eq(touched)
    expect(read("app/ipc/application_ipc.rb")).to include("class ApplicationIpc < RedisIPC::Channel", 'stream "shop"')
    expect(YAML.safe_load(ERB.new(read("config/redis_ipc.yml")).result, aliases: true).keys)
      .to eq(%w[default development test production])
    expect(read("config.ru").scan("load_server").size).to eq(1)
    expect(read("config/puma.rb")).to eq("# plugin :redis_ipc\nworkers 2\nplugin :redis_ipc\n")

    FileUtils.mkdir_p(File.join(app.folder, "spec"))
    app.write("spec/rails_helper.rb", 'ENV["RAILS_ENV"] = "production"; require_relative "../config/environment"')
    generate("redis_ipc:channel", %w[kitchen cook clean])
    generate("redis_ipc:channel", %w[pantry/shelf_ipc])
    expect(read("app/ipc/kitchen_ipc.rb")).to eq(<<~RUBY)
      # frozen_string_literal: true

      class KitchenIpc < ApplicationIpc
        channel "kitchen"

        event("cook", params: []) do
          # The block returns the answer.
        end

        event("clean", params: []) do
          # The block returns the answer.
        end
      end
    RUBY
    expect(read("app/ipc/pantry/shelf_ipc.rb")).to include("class Pantry::ShelfIpc", 'channel "pantry/shelf"')
    expect(in_folder("rspec", "-Ispec", "--no-color")).to include("3 examples, 0 failures")

    # Nothing that was generated needs a correction, except what only the reader can know: documentation comments.
    lint = in_folder("rubocop", "--only", "Layout,Lint", "app/ipc", "spec/ipc")
    expect(lint).to include("no offenses")
  end

  it "write a test if an application has no specs" do
    FileUtils.mkdir_p(File.join(app.folder, "test"))
    write_test_helper
    generate("redis_ipc:channel", %w[kitchen cook])
    output = in_folder(RbConfig.ruby, "-Itest", "test/ipc/kitchen_ipc_test.rb")
    expect(output).to include("1 runs", "0 failures, 0 errors")
  end

  it "write what the application's own generators are told to write", timeout: 300 do
    FileUtils.mkdir_p([File.join(app.folder, "spec"), File.join(app.folder, "test")])
    written = { ":rspec" => ["spec/ipc/a_ipc_spec.rb"], ":test_unit" => ["spec/ipc/b_ipc_spec.rb"], "false" => [],
                "nil" => ["spec/ipc/d_ipc_spec.rb"] }
    # This configures what rspec-rails, Rails's own test railtie and `config.generators { |g| g.test_framework ... }`
    # do.
    written.each.with_index do |(framework, files), index|
      app.write("config/initializers/generators.rb",
                "Rails.application.config.generators.test_framework = #{framework}\n")
      generate("redis_ipc:channel", [("a".."d").to_a[index], "cook"])
      expect(Dir.glob("{spec,test}/ipc/#{("a".."d").to_a[index]}_*", base: app.folder)).to eq(files)
    end

    # The default of Rails says nothing if there are specs. The command line always counts.
    app.write("config/initializers/generators.rb",
              "Rails.application.config.generators.test_framework = :test_unit\n")
    generate("redis_ipc:channel", %w[e cook])
    generate("redis_ipc:channel", %w[f cook --test-framework=test_unit])
    generate("redis_ipc:channel", %w[g cook --no-test-framework])
    expect(Dir.glob("{spec,test}/ipc/{e,f,g}_*", base: app.folder))
      .to eq(%w[spec/ipc/e_ipc_spec.rb test/ipc/f_ipc_test.rb])
  end

  # Those rules of rubocop-rails-omakase that could concern the generated files.
  omakase = <<~YAML
    AllCops: { DisabledByDefault: true, SuggestExtensions: false, NewCops: disable }
    Layout/CommentIndentation: { Enabled: true }
    Layout/EmptyLineAfterMagicComment: { Enabled: true }
    Layout/EmptyLinesAroundBlockBody: { Enabled: true }
    Layout/EmptyLinesAroundClassBody: { Enabled: true }
    Layout/IndentationStyle: { Enabled: true }
    Layout/LeadingCommentSpace: { Enabled: true }
    Layout/SpaceInsideArrayLiteralBrackets: { Enabled: true, EnforcedStyle: space, EnforcedStyleForEmptyBrackets: no_space }
    Layout/SpaceInsideBlockBraces: { Enabled: true, EnforcedStyleForEmptyBraces: space }
    Layout/SpaceInsideHashLiteralBraces: { Enabled: true, EnforcedStyle: space }
    Layout/SpaceInsideParens: { Enabled: true }
    Layout/TrailingEmptyLines: { Enabled: true }
    Layout/TrailingWhitespace: { Enabled: true }
    Style/PercentLiteralDelimiters: { Enabled: true }
    Style/StringLiterals: { Enabled: true, EnforcedStyle: double_quotes }
  YAML

  it "write nothing that RuboCop objects to, in Rails's style or in its own", timeout: 300 do
    %w[app/ipc config/redis_ipc.yml].each { |name| FileUtils.rm_r(File.join(app.folder, name)) }
    generate("redis_ipc:install", [])
    %w[rspec minitest].each do |framework|
      generate("redis_ipc:channel", ["#{framework}_kitchen", "cook", "clean", "--test-framework", framework])
      generate("redis_ipc:channel", ["#{framework}_pantry", "--test-framework", framework])
    end
    app.write("omakase.yml", omakase)
    expect(in_folder("rubocop", "--config", "omakase.yml", "app/ipc", "spec/ipc", "test/ipc")).to include("no offenses")
    expect(in_folder("rubocop", "--only", "Layout,Lint", "app/ipc", "spec/ipc", "test/ipc")).to include("no offenses")
  end

  it "write the migration of exactly_once, which makes the tables that it needs" do
    generate("redis_ipc:exactly_once", [])
    expect(Dir.glob("db/migrate/*_create_redis_ipc_exactly_once.rb", base: app.folder).size).to eq(1)
    tables = app.run(<<~RUBY).lines
      Rails.application.load_tasks
      ActiveRecord::Migration.suppress_messages { Rake::Task["db:migrate"].invoke }
      connection = ActiveRecord::Base.connection
      describe = lambda do |prefix|
        %w[processed lanes].map do |name|
          table = "\#{prefix}redis_ipc_\#{name}"
          [connection.columns(table).map { |column| [column.name, column.type, column.null] },
           connection.primary_keys(table), connection.indexes(table).map(&:columns)]
        end
      end
      p describe.call("")
      ActiveRecord::Base.table_name_prefix = "other_"
      RedisIPC::Events.create_tables(ActiveRecord::Base)
      p describe.call("other_")
    RUBY
    expect(tables.last(2).uniq.size).to eq(1)
    said = refusals(["redis_ipc:exactly_once", ["--database", "none"]])
    expect(said).to include("config/database.yml has no database \"none\"")
  end

  it "write a consumer of PostgreSQL's log, and the migration of its publication" do
    said = generate("redis_ipc:wal", %w[order orders order_items --forward feed])
    generate("redis_ipc:wal", ["visit", "--slot", "ipc_v"])
    expect(said).to include("SELECT pg_create_logical_replication_slot('ipc_order', 'pgoutput');")
    file = Dir.glob("db/migrate/*_create_ipc_order_publication.rb", base: app.folder).first
    expect(File.read(File.join(app.folder, file))).to include(
      "class CreateIpcOrderPublication < ActiveRecord::Migration[",
      'execute "ALTER TABLE order_items REPLICA IDENTITY DEFAULT"',
      'execute "CREATE PUBLICATION ipc_order FOR TABLE orders, order_items"', 'execute "DROP PUBLICATION ipc_order"'
    )
    words = app.run(<<~RUBY).lines.map(&:chomp)
      state = ->(name) { RedisIPC::Events.const_get(:ConsumerState).of(name.constantize) }
      puts [state.call("OrderEvents").sources, state.call("OrderEvents").said(:forward)].inspect
      puts [state.call("VisitEvents").sources, VisitEvents.method_defined?(:call)].inspect
    RUBY
    wal = ->(tables, slot) { { wal: [:primary, { tables: tables, slot: slot }] } }
    expect(words.last(2)).to eq([[wal.call(%w[orders order_items], "ipc_order"), { to: "feed", maxlen: 100_000 }],
                                 [wal.call(["visits"], "ipc_v"), true]].map(&:inspect))
    expect(refusals(["redis_ipc:wal", ["x", "--slot", "A b"]])).to include("a slot's name has lower case letters")
  end

  # Returns the message of each command, in one process.
  def refusals(*commands)
    app.run(<<~RUBY, RAILS_ENV: "development")
      $stderr = $stdout
      Rails.application.load_generators
      #{commands.inspect}.each do |command|
        puts "== \#{command}"
        Rails::Generators.invoke(*command)
      rescue SystemExit
        nil
      end
    RUBY
  end

  it "refuse names that cannot be file names, and say why" do
    before = Dir.glob("{app,spec,test}/**/*", base: app.folder)
    names = ["living room", "9lives", "../../outside", "/kitchen", "kitchen;exit", "Ipc", "ipc", "_ipc", "",
             "kitchen.rb", "a//b", "über", "application", "web"]
    said = refusals(*names.map { |name| ["redis_ipc:channel", [name]] }).split(/^== .*\n/).drop(1)
    expect(said.first(12)).to all(match(/is no name for a channel.*letters, digits and _|name cannot be blank/))
    # ApplicationIpc and WebIpc exist.
    expect(said.last(2)).to all(include("already used"))
    expect(Dir.glob("{app,spec,test}/**/*", base: app.folder)).to eq(before)
    expect(File).not_to exist(File.expand_path("../outside_ipc.rb", app.folder))
  end

  it "refuse events and streams without a name, and a channel without what it inherits from" do
    said = refusals(["redis_ipc:channel", ["kitchen", "cook", " "]], ["redis_ipc:install", ["--stream", " "]])
    expect(said).to include("the event's name cannot be blank", "the stream's name cannot be blank")
    expect(File).not_to exist(File.join(app.folder, "app/ipc/kitchen_ipc.rb"))

    FileUtils.rm_r(File.join(app.folder, "app/ipc"))
    FileUtils.mkdir_p(File.join(app.folder, "test/ipc"))
    expect(refusals(["redis_ipc:channel", ["kitchen"]])).to include("rails generate redis_ipc:install")
    app.write("test/ipc/kitchen_ipc_test.rb", "")
    refusals(["redis_ipc:channel", ["kitchen"], { behavior: :revoke }])
    expect(File).not_to exist(File.join(app.folder, "test/ipc/kitchen_ipc_test.rb"))
  end

  odd = ['say "hi"', "cook", "a\#{exit}b", "it's", "back\\slash", "two\nlines", "a b", "a_b", "cook", "café", "ask?"]

  it "write files that load, and specs that pass, for odd but possible names and events" do
    FileUtils.mkdir_p([File.join(app.folder, "spec"), File.join(app.folder, "test")])
    app.write("spec/rails_helper.rb", 'ENV["RAILS_ENV"] = "production"; require_relative "../config/environment"')
    write_test_helper
    generate("redis_ipc:channel", ["Living-Room", *odd, "--test-framework", "rspec"])
    generate("redis_ipc:channel", ["Pantry::TopShelfIpc", *odd, "--test-framework", "minitest"])
    expect(in_folder("rspec", "-Ispec", "--no-color")).to include("10 examples, 0 failures")
    expect(in_folder(RbConfig.ruby, "-Itest", "test/ipc/pantry/top_shelf_ipc_test.rb"))
      .to include("10 runs", "0 failures, 0 errors")
    known = app.run("names = ->(channel) { RedisIPC.const_get(:ChannelState).of(channel).event_names }; " \
                    "puts names.(LivingRoomIpc).inspect, names.(Pantry::TopShelfIpc) == names.(LivingRoomIpc)")
    expect(known).to eq("#{odd.uniq.inspect}\ntrue\n")
  end

  it "write a stream's name as it is, and config.ru so that it loads" do
    %w[app/ipc config/redis_ipc.yml].each { |name| FileUtils.rm_r(File.join(app.folder, name)) }
    # The file has no final newline, and a comment about something that it does not do.
    app.write("config.ru", <<~RUBY.chomp)
      # Rails.application.load_server
      require_relative "config/environment"
      run Rails.application
    RUBY
    generate("redis_ipc:install", ["--stream", "the \"house\" \#{1}"])
    expect(app.run("print ApplicationIpc.stream_name")).to eq("the \"house\" \#{1}")
    expect(read("config.ru").lines.last(2)).to eq(["run Rails.application\n", "Rails.application.load_server\n"])
  end

  it "write consumers with tests that pass, and their superclass if there is none" do
    FileUtils.mkdir_p([File.join(app.folder, "spec"), File.join(app.folder, "test")])
    app.write("spec/rails_helper.rb", 'ENV["RAILS_ENV"] = "production"; require_relative "../config/environment"')
    write_test_helper
    said = refusals(["redis_ipc:consumer", ["BillingEvents", "the \"orders\""]],
                    ["redis_ipc:consumer", %w[pantry/shelf --group stock --test-framework minitest]],
                    ["redis_ipc:consumer", ["events"]], ["redis_ipc:consumer", ["log", " "]],
                    ["redis_ipc:consumer", ["log", "--group", " "]])
    expect(said).to include("is no name for a consumer", "the stream's name cannot be blank",
                            "the group's name cannot be blank")
    expect(said.scan("app/events/application_events.rb").size).to eq(1)
    expect(read("app/events/application_events.rb")).to include("class ApplicationEvents < RedisIPC::Events::Consumer")
    expect(read("app/events/billing_events.rb"))
      .to include("class BillingEvents < ApplicationEvents", 'stream "the \"orders\"", group: "billing"',
                  "def call(event)")
    expect(read("app/events/pantry/shelf_events.rb"))
      .to include("class Pantry::ShelfEvents", 'stream "pantry/shelf", group: "stock"')
    expect(in_folder("rspec", "-Ispec", "--no-color")).to include("1 example, 0 failures")
    expect(in_folder(RbConfig.ruby, "-Itest", "test/events/pantry/shelf_events_test.rb"))
      .to include("1 runs", "0 failures, 0 errors")
    app.write("omakase.yml", omakase)
    lint = in_folder("rubocop", "--config", "omakase.yml", "app/events", "spec/events", "test/events")
    expect(lint).to include("no offenses")
  end

  it "follow the application's inflections" do
    FileUtils.rm_r(File.join(app.folder, "app/ipc"))
    app.edit("config/application.rb", "class Shop", <<~RUBY.chomp)
      ActiveSupport::Inflector.inflections { |inflect| inflect.acronym "IPC" }
      class Shop
    RUBY
    generate("redis_ipc:install", [])
    generate("redis_ipc:channel", %w[KitchenIPC cook])
    expect(app.run("print KitchenIPC.superclass, KitchenIPC.group_name")).to eq("ApplicationIPCkitchen")
    expect(read("test/ipc/kitchen_ipc_test.rb")).to include("class KitchenIPCTest")
  end
end
