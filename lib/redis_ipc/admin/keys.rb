# frozen_string_literal: true

module RedisIPC
  class Admin
    # Names in keys are percent-encoded (docs/protocol.md, "Keys").
    # @api private
    module Keys
      class << self
        # @param name [String]
        # @return [String]
        def encode(name)
          name.gsub(/[%:]/) { |character| format("%%%02X", character.ord) }
        end

        # Whoever writes to Redis may use bytes that are no text: no process of ours has such a name.
        # @param names [Array<String>]
        # @return [Array<String>] those that can be asked for
        def readable(names)
          names.select(&:valid_encoding?)
        end

        # @param part [String]
        # @return [String]
        def decode(part)
          part.gsub("%3A", ":").gsub("%25", "%")
        end
      end
    end
    private_constant :Keys
  end
end
