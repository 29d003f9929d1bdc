# frozen_string_literal: true

module RedisIPC
  # The base class of every error of this gem. It says where the error happened, and no part of it holds a secret. The
  # message is one line; control characters are escaped, because a part of it may come from other processes.
  #
  # @example
  #   rescue RedisIPC::Error => e
  #     logger.warn("#{e.message} (#{e.stream}, #{e.group}, #{e.redis})")
  class Error < StandardError
    # @return [String, nil] the stream's name
    attr_reader :stream
    # @return [String, nil] the group concerned (for a call: the group asked)
    attr_reader :group
    # @return [String, nil] the id of the request, or Redis's id of the entry
    attr_reader :entry_id
    # @return [String, nil] the Redis server's address, without credentials
    attr_reader :redis

    # @param message [String, nil]
    # @param stream [String, nil]
    # @param group [String, nil]
    # @param entry_id [String, nil]
    # @param redis [String, nil]
    def initialize(message = nil, stream: nil, group: nil, entry_id: nil, redis: nil)
      super(message.is_a?(String) ? shown(message) : message)
      @stream = stream
      @group = group
      @entry_id = entry_id
      @redis = redis
    end

    private

    def shown(message)
      LogText.line(message)
    end
  end

  # An option is unknown or has the wrong type; the message names it and what was expected.
  class ConfigurationError < Error; end

  # The content cannot be sent: JSON cannot hold it, or it is too large. Nothing was sent.
  class ContentError < Error; end

  # The base class of errors of a call that got no answer. {#outcome} says whether its request can have run.
  #
  # @example
  #   rescue RedisIPC::CallError => e
  #     raise if e.outcome == :unknown # it may have run
  #     retry                          # it did not run
  class CallError < Error
    # Says what is known of the request:
    # * `:not_sent`: it never reached Redis. It did not run.
    # * `:unclaimed`: it was withdrawn before anyone took it. It did not run and never will.
    # * `:unknown`: somebody took it and has not answered, or Redis cannot be asked. It may have run.
    # @return [Symbol]
    attr_reader :outcome

    # @param message [String, nil]
    # @param outcome [Symbol]
    # @param where [Hash] as for {Error#initialize}
    def initialize(message = nil, outcome: :unknown, **where)
      super(message, **where)
      @outcome = outcome
    end
  end

  # There was no answer before the deadline.
  class TimeoutError < CallError; end

  # Redis could not be reached for `connect_timeout`, or PostgreSQL by a consumer of its changes.
  class ConnectionError < CallError; end

  # The database could not be reached in which a consumer has its records ({Events::Consumer.exactly_once}).
  class DatabaseUnreachableError < ConnectionError; end

  # A thread could not be started: the user, the service or the container has reached its limit (`ulimit -u`,
  # `TasksMax=` of systemd, `pids.max` of the cgroup). `connect` raises it, and leaves nothing connected then.
  class ThreadLimitError < CallError
    ADVICE = "The user, the service or the container has reached its thread limit: raise that limit (ulimit " \
             "-u, TasksMax= of systemd, pids.max of the cgroup), or run fewer threads"
    private_constant :ADVICE

    # Runs the block, which starts threads.
    # @param place [Hash] as for {Error#initialize}
    # @raise [ThreadLimitError] if Ruby cannot start one
    # @api private
    def self.watch(place)
      yield
    rescue ThreadError => e
      # Ruby also raises ThreadError if a lock is taken twice, or in a trap block.
      raise unless e.message.start_with?("can't create Thread")

      raise new("no thread could be started: #{e.message}. #{ADVICE}", outcome: :not_sent, **place)
    end
  end

  # The stream is not connected: it never was, it was disconnected, or it is not connected in this process (after a
  # fork).
  class NotConnectedError < ConnectionError; end

  # The call was not made, because as many calls are open here as `ledger: {max_open_calls:}` allows. Nothing was sent.
  # The `on_error` of a consumer of events is told so when too many events that failed wait for their next try.
  class OverloadedError < CallError; end

  # Redis (or PostgreSQL) refused a command, for example because it has no memory left or the user lacks a right.
  class CommandError < CallError; end

  # The request was rejected. Only `value!` raises it. The message has the reason, cut short if it is long;
  # `response.reason` has all of it.
  class RejectedError < Error
    # @return [Response, nil] the rejected response; nil if `value!` did not raise this error
    attr_reader :response

    # @param response [Response, String, nil] or a message
    # @param where [Hash] as for {Error#initialize}
    def initialize(response = nil, **where)
      if response.nil? || response.is_a?(String)
        super
      else
        @response = response
        super("#{LogText.of(response.source_group)} rejected the request: #{LogText.reason(response.reason)}",
              group: response.source_group, entry_id: response.id)
      end
    end
  end

  # The request was answered before, or this connection does not hold it any more.
  class AlreadyAnsweredError < Error; end

  # An entry in Redis is not of this protocol. `on_error` is told of it; a call whose answer is none raises it.
  class MalformedEntryError < Error; end

  # A handler returned without answering its request, and nobody answered it by its deadline. `on_error` is told of it.
  class UnansweredError < Error; end

  # An event was sent params that it does not list (see {Channel.action_on_unlisted_params=}), and did not run.
  class UnlistedParamsError < Error; end

  # A request was given up on after too many deliveries. `on_error` is told of it.
  class DeadLetteredError < Error; end

  # An event failed without an exception of its own: its handler marked it with {ChangeEvent#fail!}, or was stopped.
  class EventFailedError < Error; end

  # The lane of an event belongs to another process by now, so the database has refused what its handler has written
  # ({Events::Consumer.exactly_once}).
  class StaleOwnerError < Error
    # @return [Integer] the lane
    attr_reader :lane

    # @param message [String, nil]
    # @param lane [Integer]
    # @param where [Hash] as for {Error#initialize}
    def initialize(message = nil, lane: nil, **where)
      super(message, **where)
      @lane = lane
    end
  end

  # A worker process died while it handled the event.
  class WorkerDiedError < EventFailedError; end

  # A defect of this gem was caught. Please report it.
  class InternalError < Error; end
end
