# frozen_string_literal: true

module RedisIPC
  # The answer to a request.
  class Response
    # @api private
    def initialize(native)
      @native = native
    end

    # @return [Boolean]
    def fulfilled?
      @native.fulfilled?
    end

    # @return [Boolean]
    def rejected?
      !fulfilled?
    end

    # @return [String] `"fulfilled"` or `"rejected"`
    def status
      @native.status
    end

    # @return [Object] what was answered: the value or the reason, the same object each time; Hash keys are Symbols
    def content
      @native.content
    end

    # @return [Object, nil] the content if fulfilled
    def value
      content if fulfilled?
    end

    # @return [Object, nil] the content if rejected
    def reason
      content if rejected?
    end

    # @return [Object] the content
    # @raise [RejectedError] if rejected
    def value!
      raise RejectedError, self if rejected?

      content
    end

    # @return [String, nil] the class of the exception behind a rejection, if there was one
    def error
      @native.error
    end

    # @return [String] the id of the request
    def id
      @native.id
    end

    # @return [String] Redis's id of the answer
    def redis_id
      @native.redis_id
    end

    # @return [String] the instance that answered
    def instance_id
      @native.instance_id
    end

    # @return [String] the group that answered
    def source_group
      @native.source_group
    end

    # @return [String] the group that asked
    def destination_group
      @native.destination_group
    end

    # @return [String]
    def inspect
      "#<#{self.class} #{status} #{content.inspect} from #{source_group}>"
    end
  end
end
