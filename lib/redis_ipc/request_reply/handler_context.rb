# frozen_string_literal: true

module RedisIPC
  # The `self` of an `on_request` block. It answers requests and asks other groups. The rest is reached by {#stream}.
  #
  # It is not the stream itself, so that no method or instance variable of the block collides with one of the gem's.
  # Each stream has one: an instance variable that a block sets is there in the next request too, and all consumer
  # threads see it.
  class HandlerContext
    include Undumpable

    # @api private
    def initialize(stream)
      @__redis_ipc = stream
    end

    # @return [Stream] the stream whose handler this is
    def stream
      @__redis_ipc
    end

    # @return [String] the stream's name
    def stream_name
      stream.stream_name
    end

    # @return [String] the group's name
    def group_name
      stream.group_name
    end

    # Answers a request with a value.
    # @param (see Stream#fulfill_request)
    # @return (see Stream#fulfill_request)
    # @raise (see Stream#fulfill_request)
    def fulfill_request(entry, content:)
      stream.fulfill_request(entry, content: content)
    end

    # Rejects a request with a reason.
    # @param (see Stream#reject_request)
    # @return (see Stream#reject_request)
    # @raise (see Stream#reject_request)
    def reject_request(entry, content:)
      stream.reject_request(entry, content: content)
    end

    # Asks a group and waits for the answer.
    # @param (see Stream#send_to_group)
    # @return (see Stream#send_to_group)
    # @raise (see Stream#send_to_group)
    def send_to_group(content:, to:, timeout: nil)
      stream.send_to_group(content: content, to: to, timeout: timeout)
    end

    # Asks a group and returns at once.
    # @param (see Stream#async_send_to_group)
    # @return (see Stream#async_send_to_group)
    # @raise (see Stream#async_send_to_group)
    def async_send_to_group(content:, to:, timeout: nil)
      stream.async_send_to_group(content: content, to: to, timeout: timeout)
    end

    # @return (see Stream#instance_id)
    def instance_id
      stream.instance_id
    end

    # Disconnects the stream. Returns at once; the closing goes on when the handler has finished.
    # @param (see Lifecycle#disconnect)
    # @return [Stream]
    def disconnect(timeout: 5)
      stream.disconnect(timeout: timeout)
    end

    # @return [String]
    def inspect
      "#<#{self.class} of #{stream.inspect}>"
    end
  end
end
