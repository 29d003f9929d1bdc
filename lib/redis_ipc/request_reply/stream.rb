# frozen_string_literal: true

module RedisIPC
  # A stream connects this process to a named stream as one group. It asks other groups, and answers what its own group
  # is asked.
  #
  # Any number of processes may join the same group; each request goes to one of them. A connected stream may be used by
  # any number of threads.
  #
  # @example Answer
  #   stream = RedisIPC::Stream.new("electric_household", "child")
  #   stream.on_request { |entry| fulfill_request(entry, content: "Yes, #{entry.source_group}") }
  #   stream.on_error { |exception| warn exception.message }
  #   stream.connect
  #
  # @example Ask
  #   stream = RedisIPC::Stream.new("electric_household", "parent").connect
  #   stream.send_to_group(content: "Tidy up", to: "child", timeout: 2).value #=> "Yes, parent"
  class Stream
    include Lifecycle

    # @return [String] the stream's name
    attr_reader :stream_name
    # @return [String] the group's name
    attr_reader :group_name

    # Makes a stream that is not connected yet.
    # @param stream [String, Symbol] the stream's name
    # @param group [String, Symbol] the group's name
    # @raise [ArgumentError] if a name is blank or neither a String nor a Symbol
    def initialize(stream, group)
      @stream_name = Names.check("the stream name", stream)
      @group_name = Names.check("the group name", group)
      @destination = @group_name
      @lifecycle = Mutex.new
      @around_request = Middleware.new
      @around_handler = Middleware.new
      @call_pipeline = CallPipeline.new(self, @around_request)
      @handler_pipeline = HandlerPipeline.new(self, @around_handler)
      @context = HandlerContext.new(self)
    end

    # Sets the handler: the block that runs for each request. It runs in one of the consumer threads, with a
    # {HandlerContext} as `self`. It answers once with `fulfill_request` or `reject_request`. It may also leave that to
    # {Entry#fulfill} or {Entry#reject}, later and in any thread, until the deadline.
    #
    # If the block raises, `on_error` is called, and the request is rejected with the exception's class and message
    # (with `reveal_errors: :class`, with its class alone).
    # @yieldparam entry [Entry] the request
    # @return [self]
    # @raise [ArgumentError] without a block
    # @raise [ConnectionError] if the stream is connected without a handler: it takes no requests then
    # @example
    #   stream.on_request do |entry|
    #     if entry.content[:chore] == "homework"
    #       reject_request(entry, content: "no")
    #     else
    #       fulfill_request(entry, content: { done: entry.content[:chore] })
    #     end
    #   end
    def on_request(&block)
      raise ArgumentError, "on_request needs a block" unless block
      raise ConnectionError, "set on_request before connect" if open? && !@on_request

      @on_request = block
      self
    end

    # Sets the block that is told of errors that no caller hears of: exceptions of handlers, malformed entries, dead
    # letters, lost connections. The block keeps its own `self`.
    # @yieldparam exception [Exception] what happened; an exception of a handler itself, or an {Error} of the gem
    # @return [self]
    # @raise [ArgumentError] without a block
    def on_error(&block)
      raise ArgumentError, "on_error needs a block" unless block

      @on_error = block
      self
    end

    # Adds middleware that surrounds this stream's calls, inside of {RedisIPC.around_request}.
    # @param (see RedisIPC.around_request)
    # @yieldparam (see RedisIPC.around_request)
    # @return [self]
    def around_request(link = nil, &block)
      @around_request.add(link, &block)
      self
    end

    # Adds middleware that surrounds this stream's handler, inside of {RedisIPC.around_handler}.
    # @param (see RedisIPC.around_handler)
    # @yieldparam (see RedisIPC.around_handler)
    # @return [self]
    def around_handler(link = nil, &block)
      @around_handler.add(link, &block)
      self
    end

    # Connects to Redis and joins the group. Returns when requests can be sent and taken.
    #
    # These are the defaults. Times are in seconds, sizes in bytes. docs/options.md describes each option.
    #
    #   redis_options: {},        # which server, in redis-rb's names; ENV["REDIS_URL"] is the default
    #   logger: nil, pool_size: 10, max_pool_size: nil, max_content_size: 16_777_216,
    #   reconnect_after_fork: true, reveal_errors: :message,
    #   ledger: { entry_timeout: 5, cleanup_interval: 1, max_timeout: 3600, max_open_calls: nil,
    #             busy_poll: true },
    #   consumer: { pool_size: 3, execution_interval: 0.01, delivery: :at_least_once, lease: 2, max_deliveries: 5,
    #               busy_poll: true },
    #   dispatcher: { pool_size: 2, execution_interval: 0.01 },
    #   dead_letters: { keep: 604_800, max_size: 134_217_728 }
    # @param options [Hash] merged over the defaults, nested Hashes too
    # @return [self]
    # @raise [ConfigurationError] if an option is unknown or of the wrong type
    # @raise [ConnectionError] if Redis cannot be reached, or the stream is connected already
    # @raise [CommandError] if Redis refuses
    # @raise [ThreadLimitError] if a thread cannot be started; nothing stays connected
    # @example
    #   stream.connect(redis_options: { url: "redis://10.0.0.1:6379/0" }, consumer: { pool_size: 10 })
    def connect(**options)
      connect_with(Settings.new(RedisIPC.configuration.complete(options)))
    end

    # Asks a group and waits for the answer. Blocks only the calling thread. A rejection is an answer, so it raises
    # nothing: see {Response}.
    # @param content [Object] anything that JSON can hold
    # @param to [String, Symbol] the group to ask
    # @param timeout [Numeric, nil] seconds until the deadline; nil means `ledger: {entry_timeout:}`
    # @return [Response] the answer, fulfilled or rejected
    # @raise [TimeoutError] if there is no answer at the deadline; its `outcome` says whether the request can have run
    # @raise [ConnectionError] if Redis cannot be reached or the stream is not connected
    # @raise [OverloadedError] if more calls are open than `ledger: {max_open_calls:}` allows
    # @raise [CommandError] if Redis refuses the request
    # @raise [ContentError] if the content cannot be sent
    # @raise [ArgumentError] if `to` is blank or the timeout out of range
    # @example
    #   response = stream.send_to_group(content: { chore: "laundry" }, to: "child", timeout: 2)
    #   response.fulfilled? ? response.value : response.reason
    def send_to_group(content:, to:, timeout: nil)
      to = check_destination(to)
      timeout = Monotonic.positive(timeout)
      return ask(content, to, timeout) unless @call_pipeline.observed?

      @call_pipeline.wait(OutgoingRequest.new(self, content, to, timeout)) do |request|
        ask(request.content, request.to, Monotonic.positive(request.timeout), request.context)
      end
    end

    # Asks a group and returns at once. Errors of the call are raised by the {Future} when it is asked for the answer.
    # @param (see #send_to_group)
    # @return [Future] the call under way
    # @raise [NotConnectedError] if the stream is not connected
    # @raise [OverloadedError] if more calls are open than `ledger: {max_open_calls:}` allows
    # @raise [ContentError] if the content cannot be sent
    # @raise [ArgumentError] if `to` is blank or the timeout out of range
    # @example
    #   futures = %w[laundry dishes].map { |chore| stream.async_send_to_group(content: chore, to: "child") }
    #   futures.map(&:value)
    def async_send_to_group(content:, to:, timeout: nil)
      to = check_destination(to)
      timeout = Monotonic.positive(timeout)
      return ask_async(content, to, timeout) unless @call_pipeline.observed?

      @call_pipeline.start(OutgoingRequest.new(self, content, to, timeout)) do |request, watcher|
        ask_async(request.content, request.to, Monotonic.positive(request.timeout), request.context) do |session, call|
          session.when_settled(call) { watcher.call { Response.new(call.answer) } } if watcher
        end
      end
    end

    # Answers a request with a value, as {Entry#fulfill} does.
    # @param entry [Entry] the request
    # @param content [Object] the value; anything that JSON can hold
    # @return [Boolean] true if the answer is queued for Redis; false if the deadline had passed and it was dropped
    # @raise [AlreadyAnsweredError] if the request has been answered before
    # @raise [NotConnectedError] if the stream was disconnected before: the answer is dropped
    # @raise [ContentError] if the content cannot be sent; the request can still be answered
    def fulfill_request(entry, content:)
      check_entry(entry)
      entry.fulfill(content)
    end

    # Rejects a request with a reason, as {Entry#reject} does.
    # @param entry [Entry] the request
    # @param content [Object] the reason; anything that JSON can hold
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

    # Lists the instances that are alive on the stream, of all groups.
    # @return [Array<Hash>] for each `group`, `instance_id`, `host`, `pid` and `seen_at` (Time)
    # @raise [ConnectionError] if Redis cannot be reached
    # @raise [MalformedEntryError] if the presence has more rows than are read (50,000): somebody floods it
    def instances
      FiberWaker.outside { session.engine.instances }.map do |row|
        row.merge(seen_at: Time.at(0, row.delete(:seen_ms), :millisecond)).freeze
      end
    end

    # Returns the requests that a group gave up on, each with its reason.
    # @param group [String, Symbol] the stream's own unless named
    # @return [DeadLetters] reads Redis when it is iterated
    # @raise [NotConnectedError] if the stream is not connected
    # @raise [ArgumentError] if the group's name is blank
    def dead_letters(group: group_name)
      DeadLetters.new(session.engine, Names.check("the group name", group))
    end

    # @return [String] the stream and the group, the server, and the number of threads that answer
    # @api private
    def description
      engine = session.engine
      threads = engine.consumers
      "#{stream_name}/#{group_name} (#{engine.redis}, #{threads} #{threads == 1 ? "thread" : "threads"})"
    end

    # @return [String]
    def inspect
      "#<#{self.class} #{stream_name}/#{group_name} #{connected? ? "connected" : "not connected"}>"
    end

    # Returns whether the group or this instance was told to take no more requests (see `RedisIPC::Admin#pause`). Calls
    # can be made all the same.
    # @return [Boolean]
    # @raise [NotConnectedError] if it was never connected in this process
    def paused?
      stats[:paused] == 1
    end

    # Sets the block that names what the handler runs for an entry, for the record.
    # @yieldparam entry [Entry]
    # @yieldreturn [String, nil]
    # @return [self]
    # @api private
    def name_events(&block)
      @event_name = block
      self
    end

    # Logs something that is no error.
    # @param text [String]
    # @return [void]
    # @api private
    def note(text)
      ErrorReport.note("redis_ipc #{stream_name}/#{group_name}: #{text}", logger: @logger)
    end

    private

    def ask(content, to, timeout, context = nil)
      session = self.session
      RedisIPC.framework.around_wait do
        answer = NestedCalls.watch(stream_name, to) { session.ask(to, content, timeout, context) }
        Response.new(answer, session.logger)
      end
    end

    def ask_async(content, to, timeout, context = nil)
      session = self.session
      call = session.engine.ask_async(to, content, timeout, context)
      yield session, call if block_given?
      Future.new(call, session, to)
    end

    def open_session(settings)
      @logger = settings.logger
      @reveal_errors = settings.reveal_errors
      begin_session(Session.new(self, settings, serves: !@on_request.nil?)) do |session|
        session.run(serve: method(:serve), report: method(:report), overrun: method(:overrun),
                    slow: method(:note_frame))
      end
    end

    def place
      { stream: stream_name, group: group_name }
    end

    def subject
      "the stream"
    end

    def title(what)
      "#{what} #{stream_name}/#{group_name}"
    end

    # Checks the name of a group, unless it is the frozen String that was checked last.
    def check_destination(name)
      return name if name.equal?(@destination)

      @destination = Names.check("the group name", name)
    end

    def check_entry(entry)
      return if entry.is_a?(Entry)

      raise ArgumentError, "expected the Entry that on_request was given, got a #{entry.class}"
    end

    def serve(entry)
      finished = false
      @handler_pipeline.run(entry) { @context.instance_exec(entry, &@on_request) }
      finished = true
    rescue SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException -- the asker is told of any exception
      finished = true
      reject_failed(entry, ErrorText.class_name(e), revealed(e))
      report(e, entry)
    ensure
      reject_failed(entry, nil, "the handler was stopped before it answered") unless finished
    end

    # Returns the part of an exception that the asker may be told.
    def revealed(exception)
      @reveal_errors == :class ? ErrorText.class_name(exception) : ErrorText.of(exception)
    end

    def reject_failed(entry, error, reason)
      entry.engine.reject_because(entry.native, reason, error)
    rescue AlreadyAnsweredError, NotConnectedError
      # The request was answered before the handler failed, and that answer counts; or the handler forked, and this is
      # the child.
    rescue Error => e
      report(e)
    end

    # Notes for the record where the handler of an entry is.
    # @return [String, nil] the line of the application
    def note_frame(entry, backtrace)
      ApplicationFrame.of(backtrace).tap { |frame| entry.native.note_frame(frame, @event_name&.call(entry)) }
    end

    def overrun(entry, backtrace)
      frame = note_frame(entry, backtrace)
      @handler_pipeline.overrun(entry, frame)
      ErrorReport.note("redis_ipc #{stream_name}/#{group_name}: a handler still runs though the deadline of its " \
                       "request has passed, #{entry.age.round(1)} s after Redis got it, at #{frame} (request " \
                       "#{LogText.of(entry.id)} from #{LogText.of(entry.source_group)}, delivery " \
                       "#{entry.deliveries})", logger: @logger)
    end

    def report(exception, entry = nil)
      ErrorReport.tell("#{stream_name}/#{group_name}", exception, about: entry, logger: @logger, on_error: @on_error) do
        Instrumentation.failure(exception, entry, place) { session.engine }
      end
    end
  end
end
