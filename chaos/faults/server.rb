# frozen_string_literal: true

require "socket"

module Chaos
  # The server process dies, stops, or is not ready.
  module Table
    fault "server killed, its data kept", place: -> { Place.durable }, quick: true do
      restart_server
    end

    fault "server killed, its data lost", place: -> { Place.new }, quick: true do
      restart_server
    end

    fault "server killed 5 times, its data kept", place: -> { Place.durable } do
      restart_server(times: 5, away: 0.3)
    end

    [1, 5, 20].each do |seconds|
      fault "server stopped (SIGSTOP) for #{seconds} s" do
        Process.kill(:STOP, server.pid)
        stand seconds
        Process.kill(:CONT, server.pid)
      end
    end

    fault "server loads its data (LOADING)", place: -> { Place.new(enable_debug_command: "yes") },
                                             alone: "the server starts slowly from then on" do
      redis "DEBUG", "POPULATE", "20000"
      redis "SAVE"
      server.kill
      # The pause after each key, in us.
      server.configure(key_load_delay: 100, loading_process_events_interval_bytes: 1024)
      server.start(wait: false)
      answers = Hash.new(0)
      Chaos.eventually(timeout: 30) { (answers[server.ping] += 1) && answers["+PONG"].positive? }
      loading = answers.keys.any? { |answer| answer.to_s.include?("LOADING") }
      impossible "the server never answered LOADING" unless loading
    end
  end
end
