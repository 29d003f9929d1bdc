# frozen_string_literal: true

module Oracle
  # One server that every fault but those that are `alone` can happen to: it keeps what it confirmed, its clock can be
  # stepped, a proxy is before it, and the workers are a user whose rights can be taken.
  class Place < Chaos::ProxiedPlace
    USER = "worker"
    RIGHTS = %w[on >secret ~* &* +@all].freeze
    # The user is in the configuration: it is there again after a restart.
    SERVER = { appendonly: "yes", appendfsync: "always", enable_debug_command: "yes", user: [USER, *RIGHTS] }.freeze

    attr_reader :clock

    def initialize
      @clock = Chaos::SteppingClock.new
      clock.start
      super(server: Chaos::ClockedPlace::ClockedServer.new(clock, **SERVER))
    end

    def admit
      admin.call("ACL", "SETUSER", USER, *RIGHTS)
    end

    def redis_options
      super.merge(username: USER, password: "secret")
    end

    def stop
      super
      clock.remove
    end
  end
end
