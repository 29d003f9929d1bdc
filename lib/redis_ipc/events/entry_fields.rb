# frozen_string_literal: true

module RedisIPC
  module Events
    # The methods that {EntryFormat} needs of an entry, for objects with `id` and a Hash of `fields`. The core's events
    # have the same methods, and build no Hash.
    # @api private
    module EntryFields
      # @param name [String]
      # @return [String, nil] the value of the field
      def field(name)
        fields[name]
      end

      # @return [Boolean] whether it has the form of {Events.publish}
      def own?
        fields.key?(EntryFormat::DATA) && (fields.keys - EntryFormat::OWN).empty?
      end

      # @param name [String, nil] a field; nil means the data of {Events.publish}, or all fields of an entry of another
      #   form
      # @return [Object] the decoded JSON of the field, frozen, with Strings for keys; or all fields
      # @raise [ContentError] if there is no such field, or if it holds no JSON
      def decoded(name)
        return fields if name.nil? && !own?

        text = fields[name ||= EntryFormat::DATA]
        raise ContentError, "there is no field #{LogText.of(name)}" if text.nil?
        raise ContentError, "the content is no UTF-8" unless text.encoding == Encoding::UTF_8 || text.ascii_only?

        Native.load_frozen(text)
      end
    end
    private_constant :EntryFields
  end
end
