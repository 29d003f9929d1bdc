# frozen_string_literal: true

module RedisIPC
  module Events
    # What {EntryFormat} asks of an entry, for what has `id` and its `fields` as a Hash. The core's events answer it
    # without making that Hash.
    # @api private
    module EntryFields
      # @param name [String]
      # @return [String, nil] what the field holds
      def field(name)
        fields[name]
      end

      # @return [Boolean] whether it has the form of {Events.publish}
      def own?
        fields.key?(EntryFormat::DATA) && (fields.keys - EntryFormat::OWN).empty?
      end

      # @param name [String, nil] a field; nil: that of {Events.publish}, or all fields if the entry is none of its own
      # @return [Object] what the JSON in the field stands for, frozen, with Strings for keys; or all fields
      # @raise [ContentError] if there is no such field, or no JSON in it
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
