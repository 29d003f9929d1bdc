# frozen_string_literal: true

require_relative "../redis_ipc"

module RedisIPC
  # A page that shows what streams, queues and consumers do: a Rack application without dependencies.
  #
  # It only reads, and shows no content of requests and events, unless the mount says otherwise. It takes part in
  # nothing: what it shows comes from {Admin}.
  #
  # @example In config/routes.rb of a Rails application, for administrators
  #   authenticate :user, ->(user) { user.admin? } do
  #     mount RedisIPC::Web.new(streams: %w[house], actions: true) => "/ipc"
  #   end
  #
  # @example In config.ru
  #   run RedisIPC::Web.new(streams: %w[house], queues: %w[calculator], consumers: %w[orders])
  #
  # @see file:docs/web.md What each page shows
  class Web
    OPTIONS = %i[actions content hosts redis_options admin].freeze
    # What {Probes} answers.
    PROBES = %w[/livez /readyz /metrics].freeze
    private_constant :OPTIONS, :PROBES

    # Makes an application. It connects with the first request, in each process by itself.
    # @param streams [Array<String>] the streams to show
    # @param queues [Array<String>] the queues of JSON-RPC
    # @param consumers [Array<String>] the streams of events
    # @param options [Hash] `actions: false`: whether visitors may retry, discard, pause, seek and send test requests,
    #   `content: false`: whether they may see what requests and events contain. Each is a Boolean, or a callable that
    #   gets the Rack environment; if that of `actions:` returns a String, it is who acts. `hosts: nil`: the only names
    #   by which browsers may call this server (an Array), `redis_options:` (those of {RedisIPC.configuration}),
    #   `admin: nil`: an {Admin} that exists already
    # @raise [ConfigurationError] if an option is unknown
    def initialize(streams: [], queues: [], consumers: [], **options)
      unknown = options.keys - OPTIONS
      raise ConfigurationError, Strings.text(:unknown_option, names: unknown.join(", ")) unless unknown.empty?

      @scope = { streams: streams, queues: queues, consumers: consumers }.transform_values { |names| names.map(&:to_s) }
      @options = options
      @hosts = options[:hosts]&.map(&:downcase)
      # The page connects when it is looked at.
      @probes = Probes.new(lazy: true)
      @connection = Connection.new(options[:admin]) { connect }
    end

    # Answers a request, as Rack wants it. `/livez`, `/readyz` and `/metrics` are those of {Probes}, about this process.
    # @param env [Hash] of Rack
    # @return [Array(Integer, Hash, Array)]
    def call(env)
      request = Request.new(env)
      Origin.check_host(request, @hosts)
      return @probes.call(env) if PROBES.include?(request.path)

      answer(request).finish(request)
    rescue BadRequest, Forbidden => e
      Response.new(e.status, "#{e.message}\n", "content-type" => "text/plain; charset=utf-8").finish(request)
    end

    # Runs the page in a web server of its own until the process is told to end (`redis_ipc web`). Puma is taken if it
    # is installed, else WEBrick.
    # @param host [String] the address to listen on. Behind a loopback address only browsers of this machine are
    #   answered, by the names of this machine
    # @param port [Integer] 0 for a free one
    # @param options [Hash] see {#initialize}
    # @yieldparam url [String] the address, once it listens
    # @return [nil]
    # @raise [ConfigurationError] if there is no web server
    def self.serve(host: "127.0.0.1", port: 9393, **options, &block)
      Standalone.new(host, port).run(options, &block)
    end

    # Closes its connections. A request that comes later opens new ones.
    # @return [nil]
    def close
      @connection.close
    end

    private

    def connect
      Admin.new(**@scope, redis_options: @options[:redis_options] || RedisIPC.configuration.redis_options, name: "web")
    end

    def answer(request)
      return Assets.response(request) if Assets.include?(request.path)

      permissions = Permissions.new(@options[:actions], @options[:content], request.env)
      respond(Context.new(request: request, permissions: permissions))
    end

    def respond(context)
      context.admin = @connection.admin
      Router.new(context).call
    rescue Refusal => e
      failed(context, e.status, e.message)
    rescue Error => e
      failed(context, 503, e.message)
    end

    def failed(context, status, message)
      page = ErrorPage.new(context, status, message)
      return Response.json(page.to_h, status: status) if context.request.path.start_with?("/api/")

      Response.html(View.new(context, page).document, status: status)
    end
  end
end

%w[refusals strings request response origin permissions context template format assets charts/svg charts/log_axis
   charts/buckets charts/sparkline charts/usage_bar charts/latency_chart charts/time_line
   dead_letter_box members page act view].each { |name| require_relative "web/#{name}" }
Dir[File.join(__dir__, "web", "{pages,acts}", "*.rb")].each { |file| require file }
%w[router connection puma_server webrick_server standalone].each { |name| require_relative "web/#{name}" }

# The rest of it is not for users, and may change.
RedisIPC::Web.class_eval { constants(false).each { |name| private_constant(name) } }
