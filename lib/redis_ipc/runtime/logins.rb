# frozen_string_literal: true

module RedisIPC
  # Calls the user's callables for user names and passwords at each login. They run in threads of their own, because the
  # core knows no Ruby. A login waits no longer for them than `connect_timeout`.
  # @api private
  class Logins
    # With two threads, a slow callable does not hold up the other logins.
    THREADS = 2
    private_constant :THREADS

    # @param callables [Hash{Symbol => #call}]
    # @param label [String] for the names of the threads
    # @return [Logins, nil] nil without callables
    def self.open(callables, label)
      new(callables, label) unless callables.empty?
    end

    # @return [Native::Logins] the queue by which the core asks
    attr_reader :native
    # @return [ThreadPool]
    attr_reader :pool

    def initialize(callables, label)
      @callables = callables
      @native = Native::Logins.new
      @pool = ThreadPool.new("login", label) { serve_one }
      @pool.start(THREADS)
    rescue ThreadError
      close
      raise
    end

    # Ends the threads; no login is answered any more.
    def close
      @pool.retire
      @native.close
    end

    private

    def serve_one
      login = @native.take
      serve(login) if login
      !login.nil?
    end

    def serve(login)
      refusal = "was stopped"
      login.answer(values(login))
      refusal = nil
    rescue StandardError, ScriptError => e
      # The exception's message may hold the secret.
      refusal = "raised #{e.class.name || "an exception"}"
    ensure
      login.refuse(refusal) if refusal
    end

    def values(login)
      username = login.username
      login.names.map do |name|
        value = call(@callables.fetch(name.to_sym), username)
        username = value if name.end_with?("username")
        value
      end
    end

    # redis-client passes the user name to a callable that takes a parameter.
    def call(callable, username)
      arity = callable.respond_to?(:arity) ? callable.arity : callable.method(:call).arity
      text(arity.zero? ? callable.call : callable.call(username))
    end

    def text(value)
      raise TypeError, "expected a String, got a #{value.class}" unless value.is_a?(String)

      value.encode(Encoding::UTF_8)
    end
  end
  private_constant :Logins
end
