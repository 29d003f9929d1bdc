# frozen_string_literal: true

module RedisIPC
  module OnRails
    # What others have sent, on its way into the log.
    # @api private
    module LogText
      LENGTH = 100
      private_constant :LENGTH

      # Anybody may have sent it: it must not look like lines of the log.
      # @param text [String]
      # @return [String]
      def self.of(text)
        return text if text.match?(/\A[[:print:]]{0,#{LENGTH}}\z/o)

        "#{text[0, LENGTH].inspect}#{"..." if text.length > LENGTH}"
      end
    end
  end
end
