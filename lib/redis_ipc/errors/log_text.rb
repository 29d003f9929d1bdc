# frozen_string_literal: true

module RedisIPC
  # Makes texts safe for the log: control characters are escaped.
  # @api private
  module LogText
    LENGTH = 100
    # The longest part of a rejection's reason; the reason itself may be as long as `max_content_size` allows.
    MOST_OF_REASON = 500
    # The longest part of an exception's text.
    MOST_OF_MESSAGE = 4_000
    # Format characters change how the text around them is shown, or are not shown at all.
    PLAIN = /\A[[:print:]&&[^\p{Cf}]]{0,#{LENGTH}}\z/
    # Matches what moves a terminal's cursor, ends a line, or changes how the text around it is shown.
    UNSAFE = /[[:cntrl:]\p{Cf}\u2028\u2029]/
    private_constant :LENGTH, :MOST_OF_REASON, :MOST_OF_MESSAGE, :PLAIN, :UNSAFE

    class << self
      # Makes a text that other processes have sent safe, so that it cannot look like lines of the log.
      # @param text [Object] an object that is no String is shown by its `inspect`; a String may hold any bytes
      # @return [String] valid UTF-8, or ASCII
      def of(text)
        text = text.inspect unless text.is_a?(String)
        return text if text?(text) && text.match?(PLAIN)

        quoted(text, LENGTH)
      end

      # Makes one line of a text of any length of which other processes may have written a part.
      # @param text [String]
      # @return [String] valid UTF-8
      def line(text)
        text = ErrorText.utf8(text)
        return text unless text.match?(UNSAFE)

        text.gsub(UNSAFE) { |char| char.match?(/[[:cntrl:]]/) ? char.dump[1..-2] : format("\\u{%X}", char.ord) }
      end

      # Returns the reason that another process gave, or as much of it as an error's message may hold.
      # @param content [Object]
      # @return [String] its `inspect`
      def reason(content)
        return quoted(content, MOST_OF_REASON) if content.is_a?(String)

        cut(line(content.inspect), MOST_OF_REASON)
      end

      # Returns the text of an exception in one line, or as much of it as the log gets.
      # @param exception [Exception]
      # @return [String]
      def error(exception)
        cut(line(ErrorText.of(exception)), MOST_OF_MESSAGE)
      end

      private

      # A regular expression cannot be matched against others.
      def text?(text)
        text.encoding == Encoding::UTF_8 ? text.valid_encoding? : text.ascii_only?
      end

      def quoted(text, most)
        "#{line(text[0, most].inspect)}#{"..." if text.length > most}"
      end

      def cut(text, most)
        text.length > most ? "#{text[0, most]}..." : text
      end
    end
  end
  private_constant :LogText
end
