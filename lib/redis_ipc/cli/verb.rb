# frozen_string_literal: true

require_relative "declarations"

module RedisIPC
  module CLI
    # A verb of the command. A subclass declares what it takes, and defines `run`, which returns the exit status or nil
    # for 0. What fails is raised: {Dispatcher} says it, and finds the exit status.
    # @api private
    class Verb
      extend Declarations

      # @param given [Hash{Symbol => Object}] the values of its arguments and options
      # @param terminal [Terminal]
      def initialize(given, terminal)
        @given = given
        @terminal = terminal
      end

      # Loads what `run` needs.
      # @return [void]
      def prepare
        given[:requires]&.each { |file| require File.file?(file) ? File.expand_path(file) : file }
        require "redis_ipc"
      end

      # Closes what it has opened. Is called once, also after an error.
      # @return [void]
      def finish; end

      private

      attr_reader :given, :terminal

      # @return [Hash] the server that the options name, or that of {RedisIPC.configuration}
      def redis_options
        case given[:redis]
        in nil then RedisIPC.configuration.redis_options
        in [url] then { url: url }
        in [*urls] then { cluster: urls }
        end
      end

      # @return [String]
      # @raise [UsageError] if none is named
      def stream_name
        given[:stream] || ENV["REDIS_IPC_STREAM"] ||
          raise(UsageError, "name the stream: --stream NAME, or REDIS_IPC_STREAM in the environment")
      end

      # Reads an argument that has JSON. `-` stands for standard input.
      def json_of(text, what)
        text = $stdin.read if text == "-"
        JSON.parse(text, quirks_mode: true)
      rescue JSON::ParserError
        raise UsageError, "#{what} is no JSON: #{text.inspect[0, 60]} (a text needs quotation marks: '\"text\"')"
      end
    end
  end
end
