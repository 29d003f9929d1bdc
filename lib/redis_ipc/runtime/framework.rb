# frozen_string_literal: true

module RedisIPC
  # A framework surrounds the gem's work. This class stands for no framework and adds nothing; Rails's is
  # {OnRails::Code}.
  # @api private
  class Framework
    # @return [Boolean] whether {#around_handler} does more than to run the handler
    def handlers?
      false
    end

    # @return [Boolean] whether {#correlation_id} may return one
    def correlations?
      false
    end

    # Surrounds a handler.
    # @param _entry [Entry, JSONRPC::Invocation]
    def around_handler(_entry)
      yield
    end

    # Surrounds `on_error` and `on_loss`, and the blocks of `Future#then`.
    # @param _entry [Entry, nil] the request it is about
    def around_callback(_entry = nil)
      yield
    end

    # Surrounds a call's waiting for its answer.
    def around_wait
      yield
    end

    # @return [String, nil] the name of the work that the calling thread does
    def correlation_id; end

    # @return [Object, nil] the logger of streams, servers and clients that have none
    def logger; end

    # @return [Numeric] seconds that running handlers are given when the process ends
    def shutdown_timeout
      2
    end

    # @param lines [Array<String>] a backtrace
    # @return [Array<String>] the lines worth showing
    def clean_backtrace(lines)
      lines
    end

    # @param lines [Array<String>] a backtrace
    # @return [Array<String>] the lines worth showing; all of them if none is
    def clean_or_whole_backtrace(lines)
      cleaned = clean_backtrace(lines)
      cleaned.nil? || cleaned.empty? ? lines : cleaned
    end

    # Connects a channel that is used before it is connected, or leaves that to the user.
    # @param _channel [Class]
    def connect(_channel); end
  end
  private_constant :Framework
end
