# frozen_string_literal: true

module Oracle
  # One server that suits every fault that is not `alone`: it keeps what it confirmed, its clock can be stepped, a proxy
  # is in front of it, and the workers log in as a user whose rights can be revoked.
  class Place < Chaos::ProxiedPlace
    include Chaos::Clocked
    include Chaos::Guarded

    # The user is in the configuration, so it exists again after a restart.
    SERVER = { appendonly: "yes", appendfsync: "always", enable_debug_command: "yes", user: [USER, *RIGHTS] }.freeze

    def initialize
      super(**SERVER)
    end
  end
end
