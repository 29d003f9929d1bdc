# frozen_string_literal: true

require_relative "metrics"
require_relative "probes/sessions"
require_relative "probes/liveness"
require_relative "probes/readiness"
require_relative "probes/listener"

module RedisIPC
  # Probes are a small Rack application for what watches a process. It needs no gem.
  #
  # - `/livez` fails if the process should be restarted: if all handlers of a server hang, or its threads are gone. It
  #   does not fail because Redis is away: a restart would not help.
  # - `/readyz` fails if the process does not take work now: it is not connected, or was told to take no more.
  # - `/metrics` has the numbers of this process: see {Metrics}.
  #
  # @example In the routes of a Rails application
  #   mount RedisIPC::Probes.new => "/ipc"
  #
  # @example In a process without a web server
  #   RedisIPC::Probes.listen(host: "0.0.0.0", port: 9394)
  class Probes
    METHODS = %w[GET HEAD].freeze
    TEXT = "text/plain; charset=utf-8"
    private_constant :METHODS, :TEXT

    # Answers in a thread of this process, on a port of its own.
    # @param port [Integer] 0 lets the system choose
    # @param host [String] the address to listen on: by default this machine's own programs alone are answered
    # @param options [Hash] as for {#initialize}
    # @return [Listener] say `close` to end it
    # @raise [SystemCallError] if the port is not free
    # @raise [ArgumentError] (see #initialize)
    def self.listen(port:, host: "127.0.0.1", **options)
      Listener.new(new(**options), host, port)
    end

    # @param stuck_after [Numeric] in seconds: a handler that has run for longer, and whose request nobody waits for any
    #   more, counts as one that hangs. Make it longer than the longest event or JSON-RPC method takes: only requests of
    #   streams have a deadline that a server knows
    # @param lazy [Boolean] true says that a process is ready also while nothing is connected, because it connects when
    #   it is first used
    # @param admin [Admin, nil] adds to `/metrics` what it knows of groups: see {Metrics.families}
    # @raise [ArgumentError] if `stuck_after` is no number of seconds over 0
    def initialize(stuck_after: 60, lazy: false, admin: nil)
      @admin = admin
      @liveness = Liveness.new(Monotonic.positive(stuck_after) || raise(ArgumentError, "stuck_after cannot be nil"))
      @readiness = Readiness.new(lazy)
    end

    # Answers a request, as Rack wants it.
    # @param env [Hash{String => Object}]
    # @return [Array(Integer, Hash{String => String}, Array<String>)]
    def call(env)
      status, type, text = answer(env)
      headers = { "content-type" => type, "content-length" => text.bytesize.to_s, "cache-control" => "no-store" }
      [status, headers, env["REQUEST_METHOD"] == "HEAD" ? [] : [text]]
    end

    private

    # @return [Array(Integer, String, String)] the status, the content type and the text
    def answer(env)
      return [405, TEXT, "only GET and HEAD\n"] unless METHODS.include?(env["REQUEST_METHOD"])

      case env["PATH_INFO"]
      when "/livez" then report(@liveness.problems)
      when "/readyz" then report(@readiness.problems)
      when "/metrics" then [200, *Metrics.text(accept: env["HTTP_ACCEPT"], admin: @admin)]
      else [404, TEXT, "there are /livez, /readyz and /metrics\n"]
      end
    end

    def report(problems)
      problems.empty? ? [200, TEXT, "ok\n"] : [503, TEXT, problems.join("\n") << "\n"]
    end

    private_constant :Liveness, :Readiness
  end
end
