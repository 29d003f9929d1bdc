# frozen_string_literal: true

module RedisIPC
  # Texts for the log.
  # @api private
  module LogText
    LENGTH = 100
    # Of what another party gave as its reason: it may be as long as `max_content_size` allows.
    MOST_OF_REASON = 500
    # Of an exception's text.
    MOST_OF_MESSAGE = 4_000
    # Format characters change how the text around them is shown, or are not shown at all.
    PLAIN = /\A[[:print:]&&[^\p{Cf}]]{0,#{LENGTH}}\z/
    # What moves a terminal's cursor, ends a line, or changes how the text around it is shown.
    UNSAFE = /[[:cntrl:]\p{Cf}\u2028\u2029]/
    private_constant :LENGTH, :MOST_OF_REASON, :MOST_OF_MESSAGE, :PLAIN, :UNSAFE

    class << self
      # What others have sent. Anybody may have: it must not look like lines of the log.
      # @param text [Object] what is no String is shown by its `inspect`
      # @return [String]
      def of(text)
        text = text.inspect unless text.is_a?(String)
        return text if text.match?(PLAIN)

        quoted(text, LENGTH)
      end

      # A text that others may have a part in, of any length: one line, all of which is seen.
      # @param text [String]
      # @return [String] valid UTF-8
      def line(text)
        text = ErrorText.utf8(text)
        return text unless text.match?(UNSAFE)

        text.gsub(UNSAFE) { |char| char.match?(/[[:cntrl:]]/) ? char.dump[1..-2] : format("\\u{%X}", char.ord) }
      end

      # What another party gave as its reason, or as much of it as an error's message may hold.
      # @param content [Object]
      # @return [String] its `inspect`
      def reason(content)
        return quoted(content, MOST_OF_REASON) if content.is_a?(String)

        cut(line(content.inspect), MOST_OF_REASON)
      end

      # The text of an exception, or as much of it as the log gets: one line.
      # @param exception [Exception]
      # @return [String]
      def error(exception)
        cut(line(ErrorText.of(exception)), MOST_OF_MESSAGE)
      end

      private

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
