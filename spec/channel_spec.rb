# frozen_string_literal: true

require "logger"

RSpec.describe RedisIPC::Channel do
  def channel(group, parent: described_class, &body)
    defined = Class.new(parent) do
      stream "house"
      channel group
    end
    defined.class_eval(&body) if body
    channels << defined
    defined
  end

  def channels
    @channels ||= []
  end

  def connected(...)
    channel(...).connect(redis_options: redis_options)
  end

  after { channels.each(&:disconnect) }

  let(:parent) { connected("parent") }

  it "runs an event and answers with what it returns" do
    connected("child") { event("greet", params: [:name]) { "Hello, #{params[:name]}" } }
    response = parent.trigger_event("greet", target: "child", params: { name: "Ann" })
    expect(response).to be_fulfilled
    expect(response.value).to eq("Hello, Ann")
  end

  it "lets `return` end an event" do
    connected("child") do
      event("answer", params: [:early]) do
        return "early" if params[:early]

        "late"
      end
    end
    answers = [true, false].map do |early|
      parent.trigger_event(:answer, target: :child, params: { early: early }).value
    end
    expect(answers).to eq(%w[early late])
  end

  it "gives each execution a context of its own" do
    child = connected("child") do
      event("context", params: %i[a b]) do
        [params, params.frozen?, params[:a], params.key?(:b), params.fetch(:b, 9), params.dig(:a, :deep),
         entry.source_group, source_group, stream_name, group_name, instance_id]
      end
      event("remember") do
        seen = @seen
        @seen = true
        seen
      end
    end
    answer = parent.trigger_event("context", target: "child", params: { a: { deep: 1 }, "secret" => 2 }).value
    expect(answer[0..9]).to eq([{ a: { deep: 1 } }, true, { deep: 1 }, false, 9, 1, "parent", "parent", "house",
                                "child"])
    expect(answer[10]).to match(/\A\h{32}\z/)
    expect(Array.new(3) { parent.trigger_event("remember", target: "child").value }).to all(be_nil)
    expect(child).to be_connected
  end

  describe "params that an event does not list" do
    let(:lines) { StringIO.new }
    let(:runs) { Queue.new }

    def child(action, parent: described_class)
      runs = self.runs
      child = channel("child", parent: parent) do
        event("cook", params: [:dish]) { (runs << params.to_h) && "done" }
      end
      child.action_on_unlisted_params = action unless action.nil?
      child.connect(redis_options: redis_options, logger: Logger.new(lines))
    end

    def cook(**params)
      parent.trigger_event("cook", target: "child", params: params)
    end

    it "are left out silently by default" do
      child(nil)
      expect(cook(dish: "soup", salt: "secret").value).to eq("done")
      expect(runs.pop).to eq({ dish: "soup" })
      expect(lines.string).to be_empty
    end

    it "are named in a warning, without their values, with :log" do
      child(:log)
      response = cook(dish: "soup", salt: "secret", "a\nb": 1)
      expect(response.value).to eq("done")
      expect(runs.pop).to eq({ dish: "soup" })
      expect(lines.string.lines).to contain_exactly(
        %r{WARN.* redis_ipc house/child: request #{response.id}: the event "cook" .* does not list: "salt", "a\\nb"$}
      )
      cook(dish: "soup")
      cook
      expect(lines.string.lines.size).to eq(1)
    end

    it "reject the event with :raise" do
      child(:raise)
      response = cook(dish: "soup", salt: 1)
      expect([response.error, response.reason]).to match(["RedisIPC::UnlistedParamsError", /does not list: "salt"/])
      expect(runs).to be_empty
      expect(cook(dish: "soup").value).to eq("done")
    end

    it "fill no log, however many there are and whatever they are called" do
      child(:log)
      cook(**Array.new(1000) { |number| :"#{number}#{"x" * 2000}" }.to_h { |name| [name, 1] })
      expect(lines.string.lines.size).to eq(1)
      expect(lines.string).to match(/"0x+", .* and 990 more$/)
      expect(lines.string.size).to be < 2000
    end

    it "are treated as the nearest superclass says" do
      base = channel("base")
      base.action_on_unlisted_params = :raise
      child(nil, parent: Class.new(base))
      expect(cook(salt: 1).error).to eq("RedisIPC::UnlistedParamsError")
      base.action_on_unlisted_params = false
      expect(cook(salt: 1).value).to eq("done")
      expect([described_class.action_on_unlisted_params, base.action_on_unlisted_params]).to eq([false, false])
    end

    it "can be treated in three ways only" do
      base = channel("base")
      [true, nil, "log", :ignore].each do |action|
        expect { base.action_on_unlisted_params = action }.to raise_error(ArgumentError, /false, :log or :raise/)
      end
    end
  end

  it "returns the living instances and the dead letters" do
    connected("child")
    expect(parent.instances.map { |row| row[:group] }).to contain_exactly("parent", "child")
    expect([parent.dead_letters, parent.dead_letters(group: :child)].map(&:group)).to eq(%w[parent child])
    expect(parent.dead_letters.size).to eq(0)
    channel("lonely").then do |lonely|
      expect { lonely.instances }.to raise_error(RedisIPC::NotConnectedError)
      expect { lonely.dead_letters }.to raise_error(RedisIPC::NotConnectedError)
    end
  end

  it "keeps 50 concurrent calls to one event apart" do
    connected("child") do
      event("echo", params: [:number]) do
        number = params[:number]
        sleep(rand / 100)
        [number, params[:number]]
      end
    end
    asker = parent
    threads = Array.new(50) do |number|
      Thread.new { asker.trigger_event("echo", target: "child", params: { number: number }, timeout: 30).value }
    end
    expect(threads.map(&:value)).to eq(Array.new(50) { |number| [number, number] })
  end

  it "lets events use methods of the class" do
    connected("child") do
      event("double", params: [:number]) { double(params[:number]) }
      define_method(:double) { |number| number * 2 }
    end
    expect(parent.trigger_event("double", target: "child", params: { number: 4 }).value).to eq(8)
  end

  describe "of a class with names of its own" do
    # Names that subclasses of other frameworks define, and names that this gem uses internally.
    taken = %w[run event params entry stream connection server answer call process state session send new_event name
               stream_name group_name source_group instance_id find_event place instance_variables method_missing]

    it "runs events beside methods of any name" do
      names = taken
      connected("child") do
        names.each { |name| define_method(name) { |*| "mine" } }
        event("all") { [(names - ["method_missing"]).map { |name| __send__(name) }, undefined_here].flatten.uniq }
      end
      expect(parent.trigger_event("all", target: "child").value).to eq(["mine"])
    end

    it "runs events beside instance variables of any name" do
      connected("child") do
        event("all", params: [:a]) do
          @params = @event = @entry = @stream = @stream_name = @group_name = @instance_id = @execution = "mine"
          [@params, params[:a], entry.source_group, source_group, stream_name, group_name, instance_id.size]
        end
      end
      expect(parent.trigger_event("all", target: "child", params: { a: 1 }).value)
        .to eq(["mine", 1, "parent", "parent", "house", "child", 32])
    end

    it "runs events after an initialize of its own, with and without super" do
      connected("child") do
        define_method(:initialize) { |greeting = "Hello"| @greeting = greeting }
        event("greet", params: [:name]) { "#{@greeting}, #{params[:name]}" }
      end
      connected("other") do
        define_method(:initialize) do
          super()
          @greeting = "Hi"
        end
        event("greet", params: [:name]) { "#{@greeting}, #{params[:name]}" }
      end
      answers = %w[child other].map do |group|
        parent.trigger_event("greet", target: group, params: { name: "Ann" }).value
      end
      expect(answers).to eq(["Hello, Ann", "Hi, Ann"])
    end

    it "is told at once that initialize may not need arguments" do
      [proc { |name| @name = name }, proc { |name:| @name = name }].each do |needy|
        expect { channel("child") { define_method(:initialize, &needy) } }
          .to raise_error(ArgumentError, /initialize of .* must need no arguments/)
      end
      expect { channel("child") { define_method(:initialize) { |*, **| nil } } }.not_to raise_error
    end

    it "connects, asks and answers beside class methods and class instance variables of any name" do
      names = taken - %w[stream event send name method_missing] +
              %w[open? serves? connector middleware error_handler event_names own_events own_middleware take_over
                 give_up build_stream content_of same_place? well_formed? inherited allocate instance_method]
      both = channel("both") do
        event("echo", params: [:a]) { params[:a] }
        names.each { |name| define_singleton_method(name) { |*| "mine" } }
        @connection = @server = @stream = @stream_name = @group_name = @middleware = @own_events = @error_handler = 1
        around_handler { |_entry, handler| handler.call }
      end
      both.connect(redis_options: redis_options)
      expect(both.trigger_event("echo", target: "both", params: { a: 5 }).value).to eq(5)
      eventually { both.stats[:answers_sent] == 1 }
      expect(both).to be_connected
      expect(both.disconnect).not_to be_connected
    end

    it "finds constants of the application, whatever their names" do
      %w[Event Server Execution ChannelState].each { |name| stub_const(name, name) }
      child = channel("child")
      child.class_eval("event('names') { [Event, Server, Execution, ChannelState] }", __FILE__, __LINE__)
      # Evaluates as in a `class` body: Ruby looks up constants in the class and its superclasses.
      expect(child.const_get(:Event)).to eq("Event")
      expect(described_class.constants).to be_empty
      expect(%i[Event Server].map { |name| described_class.const_defined?(name, false) }).to all(be(false))
    end

    it "says that an instance without an event has no params" do
      expect { channel("child").new.params }.to raise_error(RedisIPC::Error, /is not running an event/)
    end
  end

  it "passes settings and events on to subclasses, which may override them" do
    told = Queue.new
    base = channel("base") do
      on_error { |error| told << error }
      event("kept") { "kept" }
      event("changed") { "old" }
      event("fails") { raise "oh" }
    end
    child = channel("sub", parent: base) do
      event("changed") { "new" }
      event("added") { "added" }
    end
    child.connect(redis_options: redis_options)
    answers = %w[kept changed added].map { |name| parent.trigger_event(name, target: "sub").value }
    expect(answers).to eq(%w[kept new added])
    expect(parent.trigger_event("fails", target: "sub").reason).to eq("RuntimeError: oh")
    expect(next_of(told).message).to eq("oh")
    expect([Class.new(base).stream_name, Class.new(base).group_name]).to eq(%w[house base])
    expect(base).not_to be_connected
  end

  it "rejects an unknown event, naming those it knows" do
    connected("child") { event("known") { 1 } }
    response = parent.trigger_event("unknown", target: "child")
    expect(response.reason).to eq('unknown event "unknown"; child knows: known')
  end

  it "runs nothing that is not an event, whatever its name" do
    ran = Queue.new
    kitchen = connected("child") { event("cook") { "pasta" } }
    kitchen.define_method(:helper) { ran << :helper }
    ["helper", "run", "send", "instance_eval", "initialize", "event cook", "Cook", "cook ", "exit", "`id`",
     "Kernel.exit", "cook\u0000", "params"].each do |name|
      expect(parent.trigger_event(name, target: "child", params: { it: 1 }).reason).to start_with("unknown event")
    end
    expect(parent.trigger_event("x" * 1_000_000, target: "child").reason.size).to be < 200
    expect(ran).to be_empty
  end

  it "makes no object from params that look like a serialized one" do
    connected("child") { event("show", params: [:it]) { params[:it].class.name } }
    shown = %w[json_class ^o !ruby/object _aj_globalid].map do |key|
      parent.trigger_event("show", target: "child", params: { it: { key => "Object" } }).value
    end
    expect(shown.uniq).to eq(["Hash"])
  end

  it "rejects a malformed request" do
    connected("child") { event("known") { 1 } }
    asker = connect("plain")
    [1, nil, {}, { event: 5 }, { event: "known", params: [] }].each do |content|
      expect(asker.send_to_group(content: content, to: "child").reason).to match(/malformed request/)
    end
  end

  it "never runs a method that is no event" do
    connected("child") { define_method(:secret) { "secret" } }
    expect(parent.trigger_event("secret", target: "child")).to be_rejected
    expect(parent.trigger_event("instance_eval", target: "child")).to be_rejected
  end

  it "rejects with the exception of a failed event" do
    told = Queue.new
    connected("child") do
      on_error { |error| told << error }
      event("fails") { raise KeyError, "no key" }
      event("unsendable") { Float::NAN }
    end
    response = parent.trigger_event("fails", target: "child")
    expect([response.reason, response.error]).to eq(["KeyError: no key", "KeyError"])
    expect(parent.trigger_event("unsendable", target: "child").error).to eq("RedisIPC::ContentError")
    expect([next_of(told), next_of(told)].map(&:class)).to eq([KeyError, RedisIPC::ContentError])
  end

  it "asks without waiting" do
    connected("child") { event("square", params: [:n]) { params[:n]**2 } }
    futures = Array.new(100) do |n|
      parent.async_trigger_event("square", target: "child", params: { n: n }, timeout: 30)
    end
    expect(futures.map(&:value)).to eq(Array.new(100) { |n| n**2 })
  end

  it "times out like a stream" do
    error = unclaimed { parent.trigger_event("x", target: "nobody", timeout: 0.1) }
    expect(error.outcome).to eq(:unclaimed)
  end

  describe "bad input" do
    it "is refused where it is given" do
      expect { channel("a") { event("x") } }.to raise_error(ArgumentError, /needs a block/)
      expect { channel("a") { event(" ") { 1 } } }.to raise_error(ArgumentError, /blank/)
      expect { channel("a") { event("x", params: :a) { 1 } } }.to raise_error(ArgumentError, /params/)
      expect { channel("a") { on_error } }.to raise_error(ArgumentError, /block/)
      expect { parent.trigger_event("", target: "child") }.to raise_error(ArgumentError, /blank/)
      expect { parent.trigger_event("x", target: "child", params: [1]) }.to raise_error(ArgumentError, /Hash/)
      expect { parent.trigger_event("x", target: "") }.to raise_error(ArgumentError, /blank/)
    end

    it "is refused where stream or channel is missing" do
      expect { Class.new(described_class).connect }.to raise_error(ArgumentError, /has no stream/)
      expect { Class.new(described_class) { stream "a" }.connect }.to raise_error(ArgumentError, /has no channel/)
    end

    it "raises NotConnectedError before connect" do
      expect do
        channel("a").trigger_event("x", target: "b")
      end.to raise_error(RedisIPC::NotConnectedError, /call connect/)
      expect(channel("a")).not_to be_connected
    end

    it "refuses to connect twice, and connects again after disconnect" do
      child = connected("child") { event("x") { 1 } }
      expect { child.connect(redis_options: redis_options) }.to raise_error(RedisIPC::ConnectionError, /already/)
      child.disconnect
      child.connect(redis_options: redis_options)
      expect(parent.trigger_event("x", target: "child").value).to eq(1)
    end
  end
end
