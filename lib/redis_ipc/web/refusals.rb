# frozen_string_literal: true

module RedisIPC
  class Web
    # What is answered by an error page.
    # @api private
    class Refusal < StandardError
      # @return [Integer] the status of HTTP
      def status
        self.class::STATUS
      end
    end

    # The request cannot be read.
    # @api private
    class BadRequest < Refusal
      STATUS = 400
    end

    # The request comes from another site, or the mount does not allow it.
    # @api private
    class Forbidden < Refusal
      STATUS = 403
    end

    # There is no such page, group or instance.
    # @api private
    class NotFound < Refusal
      STATUS = 404
    end

    # The page is there, but does not take this method.
    # @api private
    class WrongMethod < Refusal
      STATUS = 405
    end
  end
end
