# frozen_string_literal: true

require "redis_ipc"

module Bench
  module Peers
    # This gem, with its default options.
    class Gem
      def initialize(settings)
        @settings = settings
        @options = { redis_options: { host: "127.0.0.1", port: settings.fetch(:port) } }
        @options[:consumer] = { pool_size: settings[:workers] } if settings[:workers]
        @target = settings.fetch(:target, "child")
      end

      def answer(&handler)
        @streams = groups.map do |group|
          stream = RedisIPC::Stream.new("house", group)
          stream.on_request { |entry| fulfill_request(entry, content: handler.call(entry.content)) }
          stream.connect(**@options)
        end
        nil
      end

      def connect
        @stream = RedisIPC::Stream.new("house", @settings.fetch(:group, "parent")).connect(**@options)
        @streams = [@stream]
      end

      def call(content)
        @stream.send_to_group(content: content, to: @target, timeout: 60).value!
      end

      def start_call(content)
        @stream.async_send_to_group(content: content, to: @target, timeout: 60)
      end

      def close
        @streams.each(&:disconnect)
      end

      private

      # Returns the group, or a crowd of groups that are not asked.
      def groups
        return ["child"] unless @settings[:crowd]

        Array.new(@settings[:crowd]) { |number| "crowd #{number}" }
      end
    end
  end
end
