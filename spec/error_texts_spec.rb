# frozen_string_literal: true

require "logger"

# The texts about an exception: for the asker, for the logger, for on_error and on standard error.
RSpec.describe "the text of an error" do
  # An object whose inspect would show a secret. It counts the calls of inspect.
  vault = Class.new do
    def self.inspected = @inspected ||= []

    def initialize = @password = "hunter2"

    def inspect
      self.class.inspected << caller.first
      super
    end

    def fail_by_name = undefined_thing
    def fail_by_method = nothing.unlock
    def nothing = nil

    private

    def hidden = nil
  end
  stub_name = "Vault"

  before { vault.inspected.clear && stub_const(stub_name, vault) }

  let(:parent) { connect("parent") }

  # Returns the reason and the error class of a request whose handler runs the block.
  def rejection(group = "child", **options, &failing)
    child = connect(group, **options) { |_entry| failing.call }
    response = parent.send_to_group(content: 1, to: group)
    child.disconnect
    [response.reason, response.error]
  end

  describe "of a handler's mistake" do
    {
      "a name that is not there" =>
        [-> { Vault.new.fail_by_name },
         "NameError: undefined local variable or method 'undefined_thing' for an instance of Vault"],
      "a method that is not there" =>
        [-> { Vault.new.unlock }, "NoMethodError: undefined method 'unlock' for an instance of Vault"],
      "a private method" => [lambda {
                               Vault.new.hidden
                             }, "NoMethodError: private method 'hidden' for an instance of Vault"],
      "a method of nil" => [-> { Vault.new.fail_by_method }, "NoMethodError: undefined method 'unlock' for nil"],
      "a method of a class" => [-> { Vault.unlock }, "NoMethodError: undefined method 'unlock' for Vault"],
      "a method of a BasicObject" => [-> { BasicObject.new.unlock },
                                      "NoMethodError: undefined method 'unlock' for an instance of BasicObject"],
      "a constant" => [-> { Vault::Door }, "NameError: uninitialized constant Vault::Door"],
      "a top constant" => [-> { Dooor }, "NameError: uninitialized constant Dooor"],
      "a class variable" => [-> { Vault.class_variable_get(:@@door) },
                             "NameError: uninitialized class variable @@door in Vault"],
      "a variable's name" => [-> { Vault.new.instance_variable_get("a b") },
                              "NameError: 'a b' is not defined for an instance of Vault"],
      "a local variable" => [-> { binding.local_variable_get(:door) },
                             "NameError: undefined local variable or method 'door' for an instance of Binding"],
      "a String's method" => [-> { "hunter2".unlock },
                              "NoMethodError: undefined method 'unlock' for an instance of String"],
      "a hand-made NameError" => [-> { raise NameError.new("no such door", :door, receiver: Vault.new) },
                                  "NameError: no such door"],
      "a hand-made NoMethodError" => [-> { raise NoMethodError.new("no such door", :door, [], receiver: Vault.new) },
                                      "NoMethodError: no such door"],
      "a hand-made NameError of a BasicObject" =>
        [-> { raise NameError.new("no such door", :door, receiver: BasicObject.new) }, "NameError: no such door"],
      "an unknown keyword" => [-> { ->(open:) { open }.call(open: 1, Vault.new => 2) },
                               "ArgumentError: unknown keyword"],
      "several unknown keywords" => [-> { ->(open:) { open }.call(open: 1, a: 1, Vault.new => 2) },
                                     "ArgumentError: unknown keyword"],
      "plain unknown keywords" => [-> { ->(open:) { open }.call(open: 1, a?: 1, "b, c": 2, "d" => 3, 4 => nil) },
                                   'ArgumentError: unknown keywords: :a?, :"b, c", "d", 4'],
      "a constant of no module" => [-> { Vault.new::Door }, "TypeError: the object is not a class/module"],
      "an unknown keyword in other bytes" =>
        [-> { ->(open:) { open }.call(open: 1, Vault.new.extend(Module.new { def inspect = "\xFF hunter2" }) => 2) },
         "ArgumentError: unknown keyword"],
      "an ArgumentError in UTF-16" => [-> { raise ArgumentError, "no door".encode("UTF-16LE") },
                                       "ArgumentError: no door"],
      "a TypeError of its own" => [-> { raise TypeError, "no door" }, "TypeError: no door"],
      "a NameError of its own" => [-> { raise NameError, "no such door" }, "NameError: no such door"],
      "a frozen object" => [-> { Vault.new.freeze.instance_variable_set(:@door, 1) },
                            "FrozenError: can't modify frozen Vault"],
      "a frozen String" => [-> { "hunter2".dup.freeze << "!" }, "FrozenError: can't modify frozen String"],
      "a FrozenError of its own" => [-> { raise FrozenError, "it is cold" }, "FrozenError: it is cold"],
      "a throw" => [-> { throw Vault.new }, "UncaughtThrowError: uncaught throw an instance of Vault"],
      "a throw of a Symbol" => [-> { throw :door }, "UncaughtThrowError: uncaught throw :door"],
      "a key" => [-> { { a: 1 }.fetch(Vault.new) }, "KeyError: key not found: an instance of Vault"],
      "a plain key" => [-> { { a: 1 }.fetch(:b) }, "KeyError: key not found: :b"],
      "a KeyError of its own" => [-> { raise KeyError, "no key" }, "KeyError: no key"],
      "a pattern" => [-> { case Vault.new; in Integer then nil; end }, "NoMatchingPatternError: no pattern matched"],
      "a pattern's key" => [-> { { a: Vault.new } => { b: } }, "NoMatchingPatternKeyError: key not found: :b"],
      "a load" => [-> { require "jsonn" }, "LoadError: cannot load such file -- jsonn"]
    }.each do |what, (failing, text)|
      it "shows no object and no source line: #{what}" do
        expect(rejection(&failing)).to eq([text, text[/\A\w+/]])
        expect(next_of(errors)).to be_a(Object.const_get(text[/\A\w+/]))
      end
    end

    it "does not call inspect of the object" do
      rejection { Vault.new.fail_by_name }
      rejection { Vault.new.unlock }
      expect(vault.inspected).to be_empty
    end

    it "is the author's where a subclass has a text of its own" do
      missing = Class.new(NoMethodError) { def message = "no door" }
      failing = -> { raise missing.new("x", :open, receiver: Vault.new) }
      expect(rejection(&failing)).to eq(["NoMethodError: no door", "NoMethodError"])
    end
  end

  it "is the class alone where nothing else may be revealed" do
    [:class, "class"].each do |way|
      expect(rejection(reveal_errors: way) { raise ArgumentError, "hunter2" }).to eq(%w[ArgumentError ArgumentError])
      expect(next_of(errors).message).to eq("hunter2")
    end
    expect(rejection(reveal_errors: :message) { raise ArgumentError, "no" }.first).to eq("ArgumentError: no")
    expect { connect("x", reveal_errors: :nothing) }
      .to raise_error(RedisIPC::ConfigurationError, /reveal_errors must be :message or :class, got :nothing/)
  end

  describe "with unusual text" do
    broken = Class.new(StandardError) { def message = raise("no message") }
    dead = Class.new(StandardError) { def message = raise(NotImplementedError) }
    strange = Class.new(StandardError) { def message = nil }
    {
      "a binary message" => [RuntimeError.new("\xFFü".b), "RuntimeError: \u{FFFD}ü"],
      "a UTF-16 message" => [RuntimeError.new("ü".encode("UTF-16LE")), "RuntimeError: ü"],
      "a Latin-1 message" => [RuntimeError.new("ü".encode("ISO-8859-1")), "RuntimeError: ü"],
      "a message in an encoding without a converter" => [RuntimeError.new("a".dup.force_encoding("UTF-7")),
                                                         "RuntimeError: a"],
      "a message that raises" => [broken.new, "StandardError, which cannot say why"],
      "a message that raises no StandardError" => [dead.new, "StandardError, which cannot say why"],
      "a message that is no String" => [strange.new, "StandardError: "]
    }.each do |what, (exception, text)|
      it "reaches the asker, on_error and the logger: #{what}" do
        lines = StringIO.new
        child = connect("kind", stream: "häuser", logger: Logger.new(lines)) { raise exception }
        asker = connect("parent", stream: "häuser")
        response = asker.send_to_group(content: 1, to: "kind")
        expect([response.reason, response.error]).to eq([text, text[/\A\w+/]])
        expect(next_of(errors)).to be(exception)
        child.disconnect
        expect(lines.string).to include("redis_ipc häuser/kind: #{text}")
      end

      it "reaches on_error and the logger of a JSON-RPC server: #{what}" do
        lines = StringIO.new
        server = rpc_server("zähler", logger: Logger.new(lines)) { |it| it.on("fail") { raise exception } }
        expect { rpc_client("zähler").call("fail") }.to raise_error(RedisIPC::JSONRPC::Error, "Internal error")
        expect(next_of(errors)).to be(exception)
        server.disconnect
        expect(lines.string).to include("redis_ipc JSON-RPC zähler: #{text}")
      end
    end
  end

  it "of an exception that JSON-RPC maps shows no object, and is text" do
    rpc_server do |server|
      server.on("open") { Vault.new.unlock }
      server.on("raw") { raise ArgumentError, "\xFFü".b }
      server.on("error") { raise RedisIPC::JSONRPC::Error.new("\xFFü".b, code: 5) }
      server.map_error(StandardError, code: 1)
    end
    messages = %w[open raw error].map do |name|
      rpc_client.call(name)
    rescue RedisIPC::JSONRPC::Error => e
      [e.message, e.code]
    end
    expect(messages).to eq([["undefined method 'unlock' for an instance of Vault", 1], ["\u{FFFD}ü", 1],
                            ["\u{FFFD}ü", 5]])
  end

  describe "if a callback for it raises, too" do
    logger = Class.new do
      def error = raise("the disk is full")
      alias_method :warn, :error
      alias_method :info, :error
    end.new

    it "reaches the other callbacks, and both errors are reported" do
      child = connect("child", logger: logger) { raise "first" }
      expect do
        parent.send_to_group(content: 1, to: "child")
        expect(next_of(errors).message).to eq("first")
        child.disconnect
      end.to output(
        %r{redis_ipc house/child: RuntimeError: first \(.+?\) \(the logger raised RuntimeError: the disk is full}
      ).to_stderr_from_any_process
    end

    it "reaches the other callbacks of a JSON-RPC server, and both errors are reported" do
      server = rpc_server(logger: logger) { |it| it.on("fail") { raise "first" } }
      expect do
        expect { rpc_client.call("fail") }.to raise_error(RedisIPC::JSONRPC::Error)
        expect(next_of(errors).message).to eq("first")
        server.disconnect
      end.to output(
        /JSON-RPC calculator: RuntimeError: first \(.+?\) \(the logger raised RuntimeError: the disk is full/
      ).to_stderr_from_any_process
    end

    it "is printed with the error that on_error raised" do
      child = build("child") { raise "first" }
      child.on_error { raise "second" }
      child.connect(redis_options: redis_options)
      expect { parent.send_to_group(content: 1, to: "child") && child.disconnect }
        .to output(/RuntimeError: first \(.+?\) \(on_error raised RuntimeError: second/).to_stderr_from_any_process
    end

    it "reaches on_error if the framework's executor raises" do
      child = connect("child") { raise "first" }
      framework = Class.new(RedisIPC.const_get(:Framework))
      framework.define_method(:around_callback) { |*| raise "no executor" }
      previous = RedisIPC.framework
      RedisIPC.configuration.framework = framework.new
      expect { parent.send_to_group(content: 1, to: "child") && child.disconnect }
        .to output(/RuntimeError: first \(.+?\) \(the executor raised RuntimeError: no executor/)
        .to_stderr_from_any_process
    ensure
      RedisIPC.configuration.framework = previous
    end
  end

  it "reaches on_error with its own self" do
    told = Queue.new
    teller = Class.new do
      define_method(:initialize) { @told = told }
      define_method(:listen) { |stream| stream.on_error { |error| @told << [self, error] } }
    end.new
    child = build("child") { raise "oh" }
    teller.listen(child)
    child.connect(redis_options: redis_options)
    parent.send_to_group(content: 1, to: "child")
    expect(next_of(told)).to match([teller, an_object_having_attributes(message: "oh")])
  end
end
