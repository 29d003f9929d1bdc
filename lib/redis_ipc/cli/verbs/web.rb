# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Serves the page.
      # @api private
      class Web < AdminVerb
        verb "web"
        summary "serve the page that shows all of this to a browser"
        about <<~TEXT
          Runs the page in a web server of its own, until Ctrl-C: Puma if it is installed, else WEBrick. Whoever reaches
          it sees everything but contents, so it listens on this machine only unless --host says otherwise.
        TEXT
        option :host, "--host ADDRESS", "the address to listen on (127.0.0.1)", default: "127.0.0.1"
        option :port, "-p", "--port NUMBER", "the port (9393); 0 is a free one", type: Integer, default: 9393, least: 0
        option :actions, "--actions", "let visitors retry, discard, pause, seek and send test requests"
        option :content, "-c", "--content", "let visitors see what requests and events contain"
        shares :streams, :others, :redis
        endless
        ends_with 0 => "it was interrupted"
        example "redis_ipc web -s house -q jobs --events orders", "serves http://127.0.0.1:9393"

        def prepare
          super
          require "redis_ipc/web"
        end

        def run
          options = given.slice(:host, :port, :actions, :content).compact
          RedisIPC::Web.serve(**names, **options, redis_options: redis_options) do |url|
            terminal.say("redis_ipc shows the page at #{url}")
          end
        end
      end
    end
  end
end
