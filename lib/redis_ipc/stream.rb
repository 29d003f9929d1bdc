# frozen_string_literal: true

module RedisIPC
  # One group's place on a stream: asks other groups, and answers what its own group is asked.
  #
  # Any number of processes may join the same group; each request goes to one of them.
  class Stream
    include Lifecycle

    # @return [String] the stream's name
    attr_reader :name
    # @return [String] the group's name
    attr_reader :group

    # @param stream [String, Symbol] the stream's name
    # @param group [String, Symbol] the group's name
    # @raise [ArgumentError] if a name is blank or neither a String nor a Symbol
    def initialize(stream, group)
      @name = Names.check("the stream name", stream)
      @group = Names.check("the group name", group)
      @destination = @group
      @lifecycle = Mutex.new
      @around_request = Middleware.new
      @around_handler = Middleware.new
      @asking = Asking.new(self, @around_request)
      @handling = Handling.new(self, @around_handler)
      @context = HandlerContext.new(self)
    end

    # Sets what runs for each request. The block runs in one of the consumer threads, with a {HandlerContext} as `self`,
    # and answers by `fulfill_request` or `reject_request` ({Entry#fulfill}, {Entry#reject}), then or later, from any
    # thread, until the deadline.
    # If it raises, `on_error` is called and the request is rejected with the exception's class and message (with
    # `reveal_errors: :class`, its class alone).
    # @yieldparam entry [Entry]
    # @return [self]
    # @raise [ArgumentError] without a block
    # @raise [ConnectionError] if the stream is connected without a handler: it takes no requests then
    def on_request(&block)
      raise ArgumentError, "on_request needs a block" unless block
      raise ConnectionError, "set on_request before connect" if open? && !@on_request

      @on_request = block
      self
    end

    # Sets what is told of errors nobody else hears of: exceptions of handlers, malformed entries, dead letters, lost
    # connections. The block keeps its own `self`.
    # @yieldparam exception [Exception]
    # @return [self]
    # @raise [ArgumentError] without a block
    def on_error(&block)
      raise ArgumentError, "on_error needs a block" unless block

      @on_error = block
      self
    end

    # Surrounds this stream's calls, inside of {RedisIPC.around_request}.
    # @param (see RedisIPC.around_request)
    # @yieldparam (see RedisIPC.around_request)
    # @return [self]
    def around_request(link = nil, &block)
      @around_request.add(link, &block)
      self
    end

    # Surrounds this stream's handler, inside of {RedisIPC.around_handler}.
    # @param (see RedisIPC.around_handler)
    # @yieldparam (see RedisIPC.around_handler)
    # @return [self]
    def around_handler(link = nil, &block)
      @around_handler.add(link, &block)
      self
    end

    # Connects. Returns when requests can be sent and taken.
    #
    # The defaults: `redis_options: {}` (redis-rb's names; `REDIS_URL` is the default), `logger: nil`, `pool_size: 10`,
    # `max_pool_size: nil`, `max_content_size: 16 MiB`, `reconnect_after_fork: true`, `reveal_errors: :message`,
    # `ledger: {entry_timeout: 5, cleanup_interval: 1, max_timeout: 3600, max_open_calls: nil, max_waiting: nil,
    # busy_poll: true}`,
    # `consumer: {pool_size: 3, execution_interval: 0.01, delivery: :at_least_once, lease: 2, max_deliveries: 5,
    # busy_poll: true}`,
    # `dispatcher: {pool_size: 2, execution_interval: 0.01}`,
    # `dead_letters: {keep: 604800, max_size: 128 MiB}`. Times are in seconds, sizes in bytes.
    # @param options [Hash] merged over the defaults, nested Hashes too; docs/options.md describes each
    # @return [self]
    # @raise [ConfigurationError] if an option is unknown or of the wrong type
    # @raise [ConnectionError] if Redis cannot be reached, or the stream is connected already
    # @raise [CommandError] if Redis refuses
    def connect(**options)
      connect_with(Settings.new(options))
    end

    # Asks a group and waits for the answer. Blocks only the calling thread.
    # @param content [Object] anything JSON can hold
    # @param to [String, Symbol] the group to ask
    # @param timeout [Numeric, nil] seconds; nil means `ledger: {entry_timeout:}`
    # @return [Response]
    # @raise [TimeoutError] at the deadline; its `outcome` says what is known of the request
    # @raise [ConnectionError] if Redis cannot be reached or the stream is not connected
    # @raise [OverloadedError] if more calls are open, or more requests wait, than `ledger:` allows
    # @raise [ContentError] if the content cannot be sent
    # @raise [ArgumentError] if `to` is blank or the timeout out of range
    def send_to_group(content:, to:, timeout: nil)
      to = check_destination(to)
      timeout = check_timeout(timeout)
      return ask(content, to, timeout) unless @asking.observed?

      @asking.wait(OutgoingRequest.new(self, content, to, timeout)) do |request|
        context = [request.traceparent, request.correlation_id]
        ask(request.content, request.to, check_timeout(request.timeout), *context)
      end
    end

    # Asks a group and returns at once.
    # @param (see #send_to_group)
    # @return [Future]
    # @raise [NotConnectedError] if the stream is not connected
    # @raise [OverloadedError] if more calls are open, or more requests wait, than `ledger:` allows
    # @raise [ContentError] if the content cannot be sent
    # @raise [ArgumentError] if `to` is blank or the timeout out of range
    def async_send_to_group(content:, to:, timeout: nil)
      to = check_destination(to)
      timeout = check_timeout(timeout)
      return ask_async(content, to, timeout) unless @asking.observed?

      @asking.start(OutgoingRequest.new(self, content, to, timeout)) do |request, watcher|
        context = [request.traceparent, request.correlation_id]
        ask_async(request.content, request.to, check_timeout(request.timeout), *context) do |session, call|
          session.when_settled(call) { watcher.call { Response.new(call.answer) } } if watcher
        end
      end
    end

    # Answers a request, as {Entry#fulfill} does.
    # @param entry [Entry]
    # @param content [Object] anything JSON can hold
    # @return [Boolean] true; false if the deadline had passed and the answer was dropped
    # @raise [AlreadyAnsweredError] if the request has been answered before
    # @raise [NotConnectedError] if the stream was disconnected before: the answer is dropped
    # @raise [ContentError] if the content cannot be sent; the request can still be answered
    def fulfill_request(entry, content:)
      check_entry(entry)
      entry.fulfill(content)
    end

    # Refuses a request, as {Entry#reject} does.
    # @param entry [Entry]
    # @param content [Object] the reason; anything JSON can hold
    # @return (see #fulfill_request)
    # @raise (see #fulfill_request)
    def reject_request(entry, content:)
      check_entry(entry)
      entry.reject(content)
    end

    # @return [String, nil] the unguessable name of this connection; nil when not connected
    def instance_id
      @session.engine.instance_id if @session && !@session.closed?
    end

    # @return [Array<Hash>] who is alive on the stream: `group`, `instance_id`, `host`, `pid`, `seen_at` (Time)
    # @raise [ConnectionError] if Redis cannot be reached
    # @raise [MalformedEntryError] if the presence has more rows than are read (50,000): somebody floods it
    def instances
      FiberBell.outside { session.engine.instances }.map do |row|
        row.merge(seen_at: Time.at(0, row.delete(:seen_ms), :millisecond)).freeze
      end
    end

    # The requests a group gave up on, each with its reason.
    # @param group [String, Symbol] the stream's own unless named
    # @return [DeadLetters] reads Redis when it is iterated
    # @raise [NotConnectedError]
    # @raise [ArgumentError] if the group's name is blank
    def dead_letters(group: self.group)
      DeadLetters.new(session.engine, Names.check("the group name", group))
    end

    # @return [String] what it is connected to, and with how many threads it answers
    # @api private
    def description
      engine = session.engine
      threads = engine.pool_sizes.first
      "#{name}/#{group} (#{engine.redis}, #{threads} #{threads == 1 ? "thread" : "threads"})"
    end

    # @return [String]
    def inspect
      "#<#{self.class} #{name}/#{group} #{connected? ? "connected" : "not connected"}>"
    end

    private

    def ask(content, to, timeout, traceparent = nil, correlation_id = nil)
      session = self.session
      Execution.wait do
        answer = NestedCalls.watch(name, to) { session.ask(to, content, timeout, traceparent, correlation_id) }
        Response.new(answer, session.logger)
      end
    end

    def ask_async(content, to, timeout, traceparent = nil, correlation_id = nil)
      session = self.session
      call = session.engine.ask_async(to, content, timeout, traceparent, correlation_id)
      yield session, call if block_given?
      Future.new(call, session, to)
    end

    def open_session(settings)
      @logger = settings.logger
      @reveal_errors = settings.reveal_errors
      begin_session(Session.new(self, settings, serves: !@on_request.nil?)) do |session|
        session.run(serve: method(:serve), report: method(:report))
      end
    end

    def place
      { stream: name, group: group }
    end

    def subject
      "the stream"
    end

    def title(what)
      "#{what} #{name}/#{group}"
    end

    # Frozen, and the same as last time: it has been checked.
    def check_destination(name)
      return name if name.equal?(@destination)

      @destination = Names.check("the group name", name)
    end

    def check_timeout(timeout)
      return if timeout.nil?
      return timeout.to_f if timeout.is_a?(Numeric) && timeout.real? && timeout.positive?

      raise ArgumentError, "the timeout must be a number of seconds over 0, got #{timeout.inspect}"
    end

    def check_entry(entry)
      return if entry.is_a?(Entry)

      raise ArgumentError, "expected the Entry that on_request was given, got a #{entry.class}"
    end

    def serve(entry)
      finished = false
      @handling.run(entry) { @context.instance_exec(entry, &@on_request) }
      finished = true
    rescue SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException -- the asker is told of whatever went wrong
      finished = true
      reject_failed(entry, ErrorText.class_name(e), revealed(e))
      report(e, entry)
    ensure
      reject_failed(entry, nil, "the handler was stopped before it answered") unless finished
    end

    # What the asker is told of an exception.
    def revealed(exception)
      @reveal_errors == :class ? ErrorText.class_name(exception) : ErrorText.of(exception)
    end

    def reject_failed(entry, error, reason)
      entry.engine.reject_because(entry.native, reason, error)
    rescue AlreadyAnsweredError, NotConnectedError
      # It was answered before things went wrong: that answer counts. Or the handler forked, and this is the child: the
      # request is its parent's.
    rescue Error => e
      report(e)
    end

    def report(exception, entry = nil)
      ErrorReport.tell("#{name}/#{group}", exception, about: entry, logger: @logger, on_error: @on_error) do
        Instrumentation.failure(exception, entry, place) { session.engine }
      end
    end

    # Tells of something that is no error.
    def note(text)
      text = "redis_ipc #{name}/#{group}: #{text}"
      logger = @logger || Execution.default_logger&.call
      logger ? logger.warn(text) : ErrorReport.warning(text)
    end
  end
end
