# frozen_string_literal: true

module RedisIPC
  # Texts for the log.
  # @api private
  module LogText
    LENGTH = 100
    private_constant :LENGTH

    class << self
      # @return [#call, nil] given a backtrace, returns the lines worth showing: Rails has one
      attr_accessor :backtrace_cleaner

      # What others have sent. Anybody may have: it must not look like lines of the log.
      # @param text [Object] what is no String is shown by its `inspect`
      # @return [String]
      def of(text)
        text = text.inspect unless text.is_a?(String)
        return text if text.match?(/\A[[:print:]]{0,#{LENGTH}}\z/o)

        "#{text[0, LENGTH].inspect}#{"..." if text.length > LENGTH}"
      end

      # Where an exception was raised; of the gem's own errors only those of handlers say anything by that.
      # @param exception [Exception]
      # @param handler [Boolean] whether a handler raised it
      # @return [String] lines to be put after its message
      def backtrace(exception, handler:)
        lines = exception.backtrace
        return "" if lines.nil? || (!handler && exception.is_a?(Error))

        cleaned = backtrace_cleaner&.call(lines)
        ["", *(cleaned.nil? || cleaned.empty? ? lines : cleaned)].join("\n  ")
      rescue StandardError
        # A class of the user's may say anything: the error itself is worth more.
        ""
      end
    end
  end
  private_constant :LogText
end
