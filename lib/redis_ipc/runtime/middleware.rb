# frozen_string_literal: true

# Middleware: {RedisIPC.around_request} and {RedisIPC.around_handler}.
module RedisIPC
  # A list of middleware that surrounds calls or handlers. The first is the outermost.
  # @api private
  class Middleware
    def initialize
      @links = [].freeze
    end

    # @param link [#call, nil] or a block; called with what is surrounded and with what to call to go on
    # @raise [ArgumentError] without something that can be called
    def add(link, &block)
      link ||= block
      raise ArgumentError, "middleware needs a block, or an object that responds to call" unless link.respond_to?(:call)

      @links = [*@links, link].freeze
    end

    def remove(link)
      @links = @links.reject { |one| one.equal?(link) }.freeze
    end

    # @param links [Array<#call>] what {#to_a} was before
    def restore(links)
      @links = links
    end

    def empty?
      @links.empty?
    end

    def to_a
      @links
    end

    # @param subject [Object] what is surrounded
    # @yield runs inside all of them
    def call(subject, &innermost)
      @links.reverse.inject(innermost) { |inner, link| -> { link.call(subject, inner) } }.call
    end
  end
  private_constant :Middleware

  # A request on its way out, as `around_request` gets it.
  class OutgoingRequest
    include Undumpable

    # @return [Stream] the stream that asks
    attr_reader :stream
    # @return [String] the group that is asked
    attr_reader :to
    # @return [Object] what is sent; may be replaced
    attr_accessor :content
    # @return [Float, nil] seconds; nil means `ledger: {entry_timeout:}`; may be replaced
    attr_accessor :timeout
    # @return [String, nil] the trace context that goes with it (W3C); may be replaced
    attr_accessor :traceparent
    # @return [String, nil] the name of the work it is part of, which goes with it: in a Rails application the id of the
    #   HTTP request; may be replaced. What is no printable ASCII of at most 255 bytes is left out
    attr_accessor :correlation_id

    # @api private
    def initialize(stream, content, to, timeout)
      @stream = stream
      @content = content
      @to = to
      @timeout = timeout
    end

    # @return [Native::Context, nil] what the call belongs to
    # @api private
    def context
      Native::Context.new(traceparent, correlation_id) if traceparent || correlation_id
    end

    # @return [String]
    def inspect
      "#<#{self.class} from #{stream.stream_name}/#{stream.group_name} to #{to}>"
    end
  end

  @request_middleware = Middleware.new
  @handler_middleware = Middleware.new

  class << self
    # Surrounds every call of every stream in this process. The middleware of a stream or a channel runs inside of it.
    # The caller gets what the block returns, so it should end with `call.call`. That returns a Response, or for an
    # asynchronous call, which has only begun then, a Future.
    # @param link [#call, nil] instead of a block
    # @yieldparam request [OutgoingRequest]
    # @yieldparam call [#call]
    # @return [self]
    # @example
    #   RedisIPC.around_request do |request, call|
    #     request.timeout ||= 2
    #     call.call
    #   end
    def around_request(link = nil, &block)
      request_middleware.add(link, &block)
      self
    end

    # Adds middleware that surrounds every handler of every stream in this process. An exception that it raises rejects
    # the request.
    # @param link [#call, nil] instead of a block
    # @yieldparam entry [Entry]
    # @yieldparam handler [#call]
    # @return [self]
    # @example
    #   RedisIPC.around_handler do |entry, handler|
    #     Sentry.with_scope { handler.call }
    #   end
    def around_handler(link = nil, &block)
      handler_middleware.add(link, &block)
      self
    end

    # @api private
    attr_reader :request_middleware, :handler_middleware
  end
end
