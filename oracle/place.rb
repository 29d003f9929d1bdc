# frozen_string_literal: true

module Oracle
  # One server that every fault but those that are `alone` can happen to: it keeps what it confirmed, its clock can be
  # stepped, a proxy is before it, and the workers are a user whose rights can be taken.
  class Place < Chaos::ProxiedPlace
    include Chaos::Clocked
    include Chaos::Guarded

    # The user is in the configuration: it is there again after a restart.
    SERVER = { appendonly: "yes", appendfsync: "always", enable_debug_command: "yes", user: [USER, *RIGHTS] }.freeze

    def initialize
      super(**SERVER)
    end
  end
end
