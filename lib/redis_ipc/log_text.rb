# frozen_string_literal: true

module RedisIPC
  # Texts for the log.
  # @api private
  module LogText
    LENGTH = 100
    # Format characters change how the text around them is shown, or are not shown at all.
    PLAIN = /\A[[:print:]&&[^\p{Cf}]]{0,#{LENGTH}}\z/
    private_constant :LENGTH, :PLAIN

    class << self
      # @return [#call, nil] given a backtrace, returns the lines worth showing: Rails has one
      attr_accessor :backtrace_cleaner

      # What others have sent. Anybody may have: it must not look like lines of the log.
      # @param text [Object] what is no String is shown by its `inspect`
      # @return [String]
      def of(text)
        text = text.inspect unless text.is_a?(String)
        return text if text.match?(PLAIN)

        shown = text[0, LENGTH].inspect.gsub(/\p{Cf}/) { |mark| format("\\u{%X}", mark.ord) }
        "#{shown}#{"..." if text.length > LENGTH}"
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
