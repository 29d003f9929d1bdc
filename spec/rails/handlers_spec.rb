# frozen_string_literal: true

require "open3"

# A single process that asks itself, over Redis.
RSpec.describe "what Rails puts around a handler", timeout: 120 do
  let(:app) { RailsApp.new }

  after { app.stop }

  # Runs the code in the application, with a channel that has these events.
  def run(events, code)
    app.write("app/ipc/kitchen_ipc.rb", "class KitchenIpc < ApplicationIpc\nchannel \"kitchen\"\n#{events}\nend\n")
    app.edit("config/redis_ipc.yml", "pool_size: 3", "pool_size: 1")
    app.run(<<~RUBY, REDIS_IPC_CHANNELS: "KitchenIpc")
      connect = -> { RedisIPC.channels.connect }
      ask = ->(event, **options) { KitchenIpc.trigger_event(event, target: "kitchen", **options) }
      #{code}
    RUBY
  end

  # A request that was delivered several times to a dead instance.
  stray = <<~RUBY
    require "redis"
    redis = Redis.new
    stray = lambda do |deliveries, **fields|
      redis.xgroup(:create, "shop:inbox:kitchen", "kitchen", "0", mkstream: true) rescue nil
      id = redis.xadd("shop:inbox:kitchen",
                      { id: "0" * 32, instance_id: "gone", status: "pending", content: '{"event":"cook","params":{}}',
                        source_group: "gone", destination_group: "kitchen", reply_to: "shop:replies:gone:gone", ttl: 30_000, **fields })
      redis.xreadgroup("kitchen", "gone", "shop:inbox:kitchen", ">")
      redis.call("XCLAIM", "shop:inbox:kitchen", "kitchen", "gone", 0, id, "RETRYCOUNT", deliveries)
    end
  RUBY

  it "is a query cache, of its own for each" do
    output = run(<<~EVENTS, <<~RUBY)
      event("look") do
        queries = []
        told = ->(*, payload) { queries << (payload[:cached] ? :cached : :real) if payload[:name] == "Visit Load" }
        ActiveSupport::Notifications.subscribed(told, "sql.active_record") { 2.times { Visit.where(number: 1).to_a } }
        queries
      end
    EVENTS
      connect.()
      p Array.new(2) { ask.("look").value }
      # A handler returns its connection after it has answered.
      Timeout.timeout(10) { Thread.pass until ActiveRecord::Base.connection_pool.stat[:busy].zero? }
    RUBY
    expect(output).to eq(%([["real", "cached"], ["real", "cached"]]\n))
  end

  it "sends the asker in production only the class of an exception, unless the application says otherwise" do
    ask = <<~RUBY
      connect.()
      response = ask.("burn")
      puts [response.error, response.reason].inspect
    RUBY
    expect(run('event("burn") { raise ArgumentError, "hunter2" }', ask)).to eq(%(["ArgumentError", "ArgumentError"]\n))
    app.write("config/initializers/reveal.rb", 'Rails.application.config.redis_ipc.reveal_errors = "message"')
    expect(app.run("RedisIPC.channels.connect; puts KitchenIpc.trigger_event('burn', target: 'kitchen').reason",
                   REDIS_IPC_CHANNELS: "KitchenIpc")).to eq("ArgumentError: hunter2\n")
  end

  describe "the error reporter" do
    before do
      app.write("config/initializers/error_reporter.rb", <<~RUBY)
        # Rails has an error reporter from 7.0 on. Before that, this class replaces it: it accepts and passes on the
        # same arguments as that of Rails 7.0.
        class ReporterOfRails70
          def initialize
            @subscribers = []
          end

          def subscribe(subscriber)
            @subscribers << subscriber
          end

          def report(error, handled:, severity: handled ? :warning : :error, context: {})
            @subscribers.each { |one| one.report(error, handled: handled, severity: severity, context: context) }
          end
        end
        unless Rails.respond_to?(:error)
          Rails.singleton_class.attr_accessor(:error)
          Rails.error = ReporterOfRails70.new
        end

        REPORTS = Queue.new
        class Reports
          def report(error, handled:, severity:, context:, source: nil)
            REPORTS << [error.class, error.message, handled, severity, context, source]
            raise "the tracker is down" if error.message == "twice"
          end
        end
        Rails.error.subscribe(Reports.new)
      RUBY
    end

    it "gets what handlers raise, once, with the request, and nothing that the asker gets" do
      output = run(<<~EVENTS, <<~RUBY)
        on_error { nil }
        event("burn") { raise ArgumentError, "burnt" }
        event("twice") { raise "twice" }
        event("cook") { "done" }
      EVENTS
        connect.()
        next_report = -> { Timeout.timeout(10) { REPORTS.pop } }
        response = ask.("burn")
        *what, context, source = next_report.()
        p what
        p context.slice(:stream, :group, :from, :id) == { stream: "shop", group: "kitchen", from: "kitchen", id: response.id }
        p [nil, "redis_ipc"].include?(source)
        ask.("unknown")
        KitchenIpc.trigger_event("x", target: "nobody", timeout: 0.1) rescue nil
        KitchenIpc.async_trigger_event("cook", target: "kitchen").then { raise "in a callback" }.wait
        p [ask.("twice").error, next_report.()[1], ask.("cook").value, REPORTS.size]
      RUBY
      complaints, lines = output.lines(chomp: true).partition { |line| line.include?("the tracker is down") }
      expect(lines).to eq([%([ArgumentError, "burnt", false, :error]), "true", "true",
                           %(["RuntimeError", "twice", "done", 0])]), output
      # Rails's own reporter catches the failure of a subscriber and logs it.
      own = Gem::Specification.find_by_name("railties").version >= Gem::Version.new("7.0")
      expect(complaints).to own ? be_empty : contain_exactly(/redis_ipc: a subscriber of error raised RuntimeError/)
    end

    it "gets errors without a handler: dead letters" do
      output = run("event(\"cook\") { 1 }", <<~RUBY)
        #{stray}
        stray.(9)
        connect.()
        error, _, handled, _, context = Timeout.timeout(20) { REPORTS.pop }
        p [error, handled, context.key?(:id), context[:group]]
      RUBY
      expect(output).to eq(%([RedisIPC::DeadLetteredError, false, true, "kitchen"]\n))
    end
  end

  describe "the log" do
    # Prints each line as [severity, text] to standard output.
    logger = <<~RUBY
      lines = Queue.new
      format = ->(severity, _, _, message) { lines << [severity, message] && "" }
      Rails.logger = ActiveSupport::TaggedLogging.new(Logger.new($stdout, formatter: format))
      ActiveSupport::LogSubscriber.logger = Rails.logger
      ActiveSupport::LogSubscriber.colorize_logging = false
      # Waits for a line for each pattern, in any order.
      show = lambda do |*patterns|
        found = {}
        Timeout.timeout(20) do
          until found.size == patterns.size
            line = lines.pop
            patterns.each { |pattern| found[pattern] ||= line if line.last.match?(pattern) }
          end
        end
        puts patterns.flat_map { |pattern| found[pattern] }
      end
    RUBY

    it "has calls as debug, events as info, errors as warnings, with durations in milliseconds and tags" do
      output = run(<<~EVENTS, <<~RUBY)
        on_error { nil }
        event("cook") { Rails.logger.error("hot"); 1 }
        event("burn") { raise ArgumentError, "burnt" }
      EVENTS
        #{logger}
        connect.()
        ask.("cook")
        show.(/hot/, /Handled/, /IPC kitchen cook/)
        ask.("burn")
        show.(/Rejected/, /IPC kitchen burn/)
        KitchenIpc.trigger_event("cook", target: "nobody", timeout: 0.1) rescue nil
        show.(/not answered/, /IPC nobody cook unclaimed/)
        KitchenIpc.async_trigger_event("cook", target: "kitchen").wait
        show.(/IPC kitchen cook/, /Handled cook/)
        KitchenIpc.trigger_event("no\\nline", target: "kitchen")
        show.(/Rejected/, /IPC kitchen/)
        KitchenIpc.trigger_event("cook", target: "kitchen", params: { no: Float::NAN }) rescue nil
        show.(/ContentError/)
      RUBY
      tags = /\[redis_ipc\] \[kitchen\] \[\h{32}\] /
      ms = /\d+\.\dms/
      late = /[1-9]\d\d+\.\dms/
      id = /\(id \h{32}\)/
      expected = [
        ["ERROR", /\A#{tags}hot\z/],
        ["INFO", /\A#{tags}Handled cook for kitchen in #{ms}\z/],
        ["DEBUG", /\A  IPC kitchen cook fulfilled in #{ms} #{id}\z/],
        ["INFO", /\A#{tags}Rejected burn for kitchen with ArgumentError in #{ms}\z/],
        ["DEBUG", /\A  IPC kitchen burn rejected in #{ms} #{id}\z/],
        ["WARN", /\AIPC nobody cook was not answered in #{late}: unclaimed #{id}\z/],
        ["DEBUG", /\A  IPC nobody cook unclaimed in #{late} #{id}\z/],
        ["DEBUG", /\A  IPC kitchen cook fulfilled in #{ms} #{id}\z/],
        ["INFO", /\A#{tags}Handled cook for kitchen in #{ms}\z/],
        ["INFO", /\A#{tags}Rejected "no\\nline" for kitchen in #{ms}\z/],
        ["DEBUG", /\A  IPC kitchen "no\\nline" rejected in #{ms} #{id}\z/],
        ["DEBUG", /\A  IPC kitchen cook RedisIPC::ContentError in #{ms}\z/]
      ]
      expect(output.lines(chomp: true).each_slice(2).to_a).to match(expected)
    end

    it "says that an answer was too late, or has not come yet" do
      output = run(<<~EVENTS, <<~RUBY)
        on_error { nil }
        OPEN = Queue.new
        event("slow") { OPEN.pop }
        event("slow and wrong") { OPEN.pop && raise("burnt") }
      EVENTS
        #{logger}
        connect.()
        ["slow", "slow and wrong"].each do |event|
          ask.(event, timeout: 0.1) rescue nil
          KitchenIpc::OPEN << 1
          show.(/not answered/, /too late/)
        end
        asked = Queue.new
        later = RedisIPC::Stream.new("shop", "later").on_request { |entry| asked << entry }.connect
        future = KitchenIpc.async_trigger_event("x", target: "later")
        show.(/Handled x/)
        puts later.fulfill_request(asked.pop, content: 1), future.value
      RUBY
      lines = output.lines(chomp: true)
      tags = "[redis_ipc] [kitchen] [#{lines[1][/id (\h{32})\)\z/, 1]}] "
      expect(lines.values_at(0, 2)).to eq(%w[WARN WARN])
      expect(lines[3]).to start_with("#{tags}Handled slow for kitchen in ")
        .and end_with("too late: the answer was dropped")
      expect(lines[7]).to match(/Handled slow and wrong for kitchen with RuntimeError in [\d.]+ms, too late: /)
      expect(lines.drop(8)).to match(["INFO", /Handled x for kitchen in [\d.]+ms, not answered yet\z/, "true", "1"])
    end

    it "has a handler's error once, with the request, where it was raised, and nothing of the content" do
      output = run(<<~EVENTS, <<~RUBY)
        def self.on_fire = raise(ArgumentError, "burnt")
        event("burn", params: [:secret]) { KitchenIpc.on_fire }
      EVENTS
        #{logger}
        connect.()
        puts ask.("burn", params: { secret: "hunter2" }).id
        show.(/Rejected/, /burnt/)
      RUBY
      id, _, _, severity, text, *backtrace = output.lines(chomp: true)
      expect(severity).to eq("ERROR")
      expect(text).to eq("[redis_ipc] [kitchen] [#{id}] redis_ipc shop/kitchen: ArgumentError: burnt " \
                         "(request #{id} from kitchen)")
      expect(backtrace.first(2)).to match([%r{\A  app/ipc/kitchen_ipc.rb:3:in .*on_fire},
                                           %r{\A  app/ipc/kitchen_ipc.rb:4:in }])
      # The cleaner of Rails keeps the application's own lines.
      expect(backtrace).to all(match(/\A  (app|-e)/))
      expect(output).not_to include("hunter2")
    end

    it "warns of requests that may run again, of dead letters and of outages" do
      output = run("event(\"cook\") { 1 }", <<~RUBY)
        #{logger}
        #{stray}
        stray.(2)
        stray.(9)
        connect.()
        show.(/may run again/, /is a dead letter/)
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        show.(/connected again/)
      RUBY
      ms = /\d+\.\dms/
      request = "0" * 32
      tags = /\[redis_ipc\] \[kitchen\] \[#{request}\] /
      expected = [
        ["WARN", /\A#{tags}IPC request #{request} from gone may run again: delivery 3, after #{ms}\z/],
        ["WARN", /\AIPC request \d+-\d is a dead letter of kitchen after #{ms}\z/],
        ["WARN", %r{\AIPC shop/kitchen is connected again after #{ms}\z}]
      ]
      expect(output.lines(chomp: true).each_slice(2).to_a).to match(expected)
    end

    it "has one line for each, whatever other programs write" do
      output = run("event(\"cook\") { Rails.logger.info(\"hot\"); 1 }", <<~RUBY)
        #{logger}
        #{stray}
        evil = "evil\\nINFO forged"
        stray.(2, source_group: evil, id: "1\\nINFO forged", reply_to: "shop:replies:\#{evil}:gone")
        connect.()
        show.(/may run again/, /hot/, /Handled/)
      RUBY
      texts = output.lines(chomp: true).each_slice(2).map(&:last)
      expect(texts).to all(start_with("[redis_ipc] [kitchen] [\"1\\nINFO forged\"]")), output
      expect(texts.size).to eq(3)
    end

    it "is tagged as the application configures" do
      app.edit("config/redis_ipc.yml", "channels:", "log_tags: [source_group]\n  channels:")
      app.write("config/initializers/tags.rb", <<~RUBY)
        Rails.application.config.redis_ipc.log_tags = [:source_group, ->(entry) { entry.content[:event] }, "text"]
      RUBY
      output = run("event(\"cook\") { Rails.logger.info(\"hot\"); 1 }",
                   "#{logger}connect.(); ask.(\"cook\"); show.(/hot/)")
      expect(output).to eq("INFO\n[kitchen] [cook] [text] hot\n")
    end
  end
end
