# frozen_string_literal: true

module RedisIPC
  module CLI
    # What was sent, which may be anything but JSON.
    # @api private
    module ContentText
      class << self
        # @param content [Object, nil] as it was read
        # @param text [String, nil] as it was sent; nil if nothing was
        # @return [Boolean] whether it could not be read
        def unreadable?(content, text)
          content.nil? && !text.nil? && text.strip != "null"
        end

        # @param text [String] what could not be read
        # @return [String] all of its bytes, those escaped that are no text
        def escaped(text)
          LogText.line(text.dup.force_encoding(Encoding::UTF_8).inspect)
        end

        # @yieldparam content [Object] what was read
        # @yieldreturn [String] how it is written
        # @return [String]
        def of(content, text)
          return "there is none" if text.nil?

          unreadable?(content, text) ? "not JSON: #{escaped(text)}" : yield(content)
        end

        # @return [Hash{Symbol => Object}] for a document of JSON
        def facts(content, text)
          unreadable?(content, text) ? { content: nil, not_json: escaped(text) } : { content: content }
        end
      end
    end
  end
end
