# frozen_string_literal: true

module RedisIPC
  # An entry is a request, as the handler gets it. It is frozen.
  #
  # @example
  #   stream.on_request do |entry|
  #     entry.content      #=> { chore: "laundry" }
  #     entry.source_group #=> "parent"
  #     entry.fulfill("done")
  #   end
  class Entry
    include Undumpable

    # @api private
    attr_reader :native, :engine

    # @api private
    def initialize(native, engine)
      @native = native
      @engine = engine
      freeze
    end

    # @return [String] the asker's id of the request: the same for every copy and every delivery
    def id
      @native.id
    end

    # @return [String] Redis's id of the entry, `"ms-sequence"`
    def redis_id
      @native.redis_id
    end

    # @return [String] the asking instance
    def instance_id
      @native.instance_id
    end

    # @return [String] always `"pending"`: an entry is a request
    def status
      "pending"
    end

    # @return [Object] the content, the same object each time (dup it before you change it); Hash keys are Symbols
    def content
      @native.content
    end

    # @return [String] the group that asks
    def source_group
      @native.source_group
    end

    # @return [String] the group that is asked
    def destination_group
      @native.destination_group
    end

    # @return [Boolean] always true: an entry is a request
    def pending?
      true
    end

    # @return [Boolean] always false: an entry is a request
    def fulfilled?
      false
    end

    # @return [Boolean] always false: an entry is a request
    def rejected?
      false
    end

    # @return [Time] when the asker gives up, on Redis's clock
    def deadline
      Time.at(0, @native.deadline_ms, :millisecond)
    end

    # Returns whether the deadline has passed. Then nobody waits for the answer any more.
    # @return [Boolean]
    # @raise [NotConnectedError] in a forked child, and of an entry that Marshal loaded
    def expired?
      @engine.expired?(@native)
    end

    # @return [Integer] how often the request has been delivered, this time included
    def deliveries
      @native.deliveries
    end

    # Returns whether the request may have run before: another instance had it, the asker had to send it again, it was a
    # dead letter, or Redis lost what it knew of deliveries (`XGROUP DESTROY`) after it was sent.
    # @return [Boolean]
    def redelivered?
      @native.redelivered?
    end

    # @return [Float] seconds since Redis got the request, on its clock
    # @raise [NotConnectedError] in a forked child, and of an entry that Marshal loaded
    def age
      (@engine.now_ms - @native.since_ms) / 1000.0
    end

    # @return [String, nil] the asker's trace context (W3C `traceparent`), if it sent one
    def traceparent
      @native.traceparent
    end

    # @return [String, nil] the asker's name for the work the request is part of, if it sent one: from a Rails
    #   application the id of the HTTP request
    def correlation_id
      @native.correlation_id
    end

    # Answers the request with a value. May be called later and from any thread, until the deadline.
    # @param content [Object] the value; anything that JSON can hold
    # @return [Boolean] true if the answer is queued for Redis; false if the deadline had passed and it was dropped
    # @raise [AlreadyAnsweredError] if the request has been answered before
    # @raise [NotConnectedError] if the connection it came by is closed, or Marshal loaded it
    # @raise [ContentError] if the content cannot be sent; the request can still be answered
    def fulfill(content)
      @engine.fulfill(@native, content)
    end

    # Rejects the request with a reason. May be called later and from any thread, until the deadline.
    # @param content [Object] the reason; anything that JSON can hold
    # @return (see #fulfill)
    # @raise (see #fulfill)
    def reject(content)
      @engine.reject(@native, content, nil)
    end

    # @return [String]
    def inspect
      LogText.line("#<#{self.class} #{id} from #{source_group} to #{destination_group}, delivery #{deliveries}>")
    end
  end
end
