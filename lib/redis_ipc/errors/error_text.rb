# frozen_string_literal: true

require_relative "name_error_text"

module RedisIPC
  # The text of an exception: for logs, and for the asker of a handler that raised it. It is valid UTF-8, and making it
  # never raises.
  #
  # Ruby's own exceptions show whole objects in their messages, with the instance variables (`@password`), and
  # error_highlight adds the source line. Here an object is named by its class, and its `inspect` is not called.
  # @api private
  module ErrorText
    CLASS = Kernel.instance_method(:class)
    METHOD = Kernel.instance_method(:method)
    NAME = Module.instance_method(:name)
    # Objects of these classes show nothing but themselves in their `inspect`.
    PLAIN = [Symbol, String, Numeric, NilClass, TrueClass, FalseClass].freeze
    # Before Ruby 3.2, exceptions of these classes put a snippet or a suggestion into `to_s`.
    DECORATIONS = %w[ErrorHighlight::CoreExt DidYouMean::Correctable].freeze
    # Matches the `inspect` of such an object.
    PLAIN_KEYWORD = /:\w+[?!=]?|:?"(?:[^"\\]|\\.)*"|-?\d[\d.e+-]*|nil|true|false/
    # Matches the messages in which Ruby shows the `inspect` of an object: of a keyword, and of the object in
    # `object::Constant`.
    REVEALING = {
      ArgumentError => [/\Aunknown keywords?: (?!#{PLAIN_KEYWORD}(?:, #{PLAIN_KEYWORD})*\z)/, "unknown keyword"],
      TypeError => [%r{ is not a class/module\z}, "the object is not a class/module"]
    }.freeze
    private_constant :PLAIN_KEYWORD, :REVEALING, :CLASS, :METHOD, :NAME, :PLAIN, :DECORATIONS

    class << self
      # @param exception [Exception]
      # @return [String] `"Class: message"`
      def of(exception)
        "#{class_name(exception)}: #{message(exception)}"
      rescue SystemExit, SignalException
        raise
      rescue Exception # rubocop:disable Lint/RescueException -- a broken `message` must not hide the error
        "#{class_name(exception)}, which cannot say why"
      end

      # @param exception [Exception]
      # @return [String] the message; an exception whose `message` raises has an empty one
      def message_of(exception)
        message(exception)
      rescue SystemExit, SignalException
        raise
      rescue Exception # rubocop:disable Lint/RescueException -- see above
        ""
      end

      # @param object [Object]
      # @return [String] the name of its class; if that has none, of the nearest superclass that has one
      def class_name(object)
        CLASS.bind_call(object).ancestors.lazy.grep(Class).filter_map { |one| NAME.bind_call(one) }.first
      end

      # @param object [Object]
      # @return [String] the object's class, or its `inspect` if that shows nothing but the object itself
      def shown(object)
        case object
        when *PLAIN then object.inspect
        when Module then NAME.bind_call(object) || "an anonymous #{class_name(object).downcase}"
        else "an instance of #{class_name(object)}"
        end
      end

      # @param text [#to_s]
      # @return [String] valid UTF-8
      def utf8(text)
        text = text.to_s
        return text.dup.force_encoding(Encoding::UTF_8).scrub if text.encoding == Encoding::BINARY

        text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace)
      rescue EncodingError
        text.dup.force_encoding(Encoding::UTF_8).scrub
      end

      private

      def message(exception)
        utf8(own_text(exception) || plain(exception))
      end

      # @return [String, nil] nil if the exception's own message shows no object
      def own_text(exception)
        case exception
        when NameError then NameErrorText.of(exception)
        when KeyError then key_error(exception)
        when FrozenError then frozen_error(exception)
        when UncaughtThrowError then "uncaught throw #{shown(exception.tag)}"
        when NoMatchingPatternError then pattern_error(exception)
        else revealing(exception)
        end
      rescue ArgumentError
        # The exception has no receiver or no key, so its raiser wrote the message.
        nil
      end

      # Returns a text to use in place of a message in which Ruby shows an `inspect`.
      def revealing(exception)
        pattern, text = REVEALING[CLASS.bind_call(exception)]
        text if pattern && utf8(plain(exception)).match?(pattern)
      end

      def key_error(error)
        key = error.key
        "key not found: #{shown(key)}" if plain(error).start_with?("key not found: ") && !plain?(key)
      end

      def pattern_error(error)
        error.is_a?(NoMatchingPatternKeyError) ? "key not found: #{shown(error.key)}" : "no pattern matched"
      end

      def frozen_error(error)
        start = plain(error)[/\Acan't modify frozen .+?(?=: )/m]
        start && "can't modify frozen #{class_name(error.receiver)}"
      rescue ArgumentError
        start
      end

      def plain?(object)
        PLAIN.any? { |kind| kind === object } # rubocop:disable Style/CaseEquality -- it may be a BasicObject
      end

      # Returns the message without what error_highlight and did_you_mean add. Since Ruby 3.2 they add it elsewhere.
      def plain(exception)
        return exception.message unless METHOD.bind_call(exception, :message).owner == Exception

        text = METHOD.bind_call(exception, :to_s)
        text = text.super_method while DECORATIONS.include?(text.owner.name)
        text.call
      end
    end
  end
  private_constant :ErrorText
end
