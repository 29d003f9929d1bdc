# frozen_string_literal: true

module RedisIPC
  class Web
    # What a page is made from.
    # @!attribute request [Request]
    # @!attribute admin [Admin]
    # @!attribute permissions [Permissions]
    # @api private
    Context = Struct.new(:request, :admin, :permissions, keyword_init: true)
  end
end
