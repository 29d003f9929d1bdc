# frozen_string_literal: true

module RedisIPC
  # A response is the answer to a request: fulfilled with a value, or rejected with a reason.
  #
  # @example
  #   response = stream.send_to_group(content: "tidy up", to: "child")
  #   if response.fulfilled?
  #     response.value
  #   else
  #     response.reason # and response.error, if an exception was behind it
  #   end
  class Response
    # Stands in for the core's answer in a response that Marshal loaded, and in tests.
    Loaded = Struct.new(:status, :content, :error, :id, :redis_id, :instance_id, :source_group, :destination_group,
                        keyword_init: true) do
      def fulfilled?
        status == "fulfilled"
      end
    end
    private_constant :Loaded

    # @api private
    def initialize(native, logger = nil)
      @native = native
      @logger = logger
    end

    # @api private
    def marshal_dump
      Loaded.members.to_h { |name| [name, @native.public_send(name)] }
    end

    # @api private
    def marshal_load(values)
      @native = Loaded.new(**values)
    end

    # @return [Boolean] whether the request was answered with a value
    def fulfilled?
      @native.fulfilled?
    end

    # @return [Boolean] whether the request was answered with a reason
    def rejected?
      !fulfilled?
    end

    # @return [String] `"fulfilled"` or `"rejected"`
    def status
      @native.status
    end

    # @return [Object] the value or the reason, the same object each time; Hash keys are Symbols
    def content
      @native.content
    end

    # Returns the value, or nil for every rejection, whatever the reason. So look at {#fulfilled?} first, or use
    # {#value!}. The first time that it is nil because of a rejection, the logger is told so at level debug.
    # @return [Object, nil] the content if fulfilled
    def value
      return content if fulfilled?

      explain_nil unless @explained
      nil
    end

    # Returns the reason of a rejection.
    # @return [Object, nil] the content if rejected; nil if fulfilled
    def reason
      content if rejected?
    end

    # Returns the value, and raises for a rejection.
    # @return [Object] the content
    # @raise [RejectedError] if rejected; it has this response
    def value!
      raise RejectedError, self if rejected?

      content
    end

    # Makes the error for a group that was too busy to run the request.
    # @return [OverloadedError, nil]
    # @api private
    def overload
      return unless error == OverloadedError.name

      message = "#{LogText.of(source_group)} was too busy and did not run the request: #{LogText.reason(reason)}"
      OverloadedError.new(message, outcome: :unclaimed, group: source_group, entry_id: id)
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
      LogText.line("#<#{self.class} #{status} #{content.inspect} from #{source_group}>")
    end

    private

    # Tells the logger why `value` is nil. The line does not show the reason, because content is not logged.
    def explain_nil
      @explained = true unless frozen?
      logger = @logger || RedisIPC.configuration.logger
      logger.debug { explanation } if logger.respond_to?(:debug)
    rescue StandardError => e
      ErrorReport.warning("#{explanation} (the logger raised #{LogText.error(e)} when told of it)")
    end

    def explanation
      cause = " (#{LogText.of(error)})" if error
      group = LogText.of(source_group)
      "redis_ipc #{LogText.of(destination_group)}: value is nil because #{group} rejected request #{LogText.of(id)}" \
        "#{cause}; reason says why, value! raises"
    end
  end
end
