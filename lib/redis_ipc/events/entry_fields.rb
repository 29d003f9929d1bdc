# frozen_string_literal: true

module RedisIPC
  module Events
    # The methods that {EntryFormat} needs of an entry, for objects with `id` and a Hash of `fields`. The core's events
    # have the same methods, and build no Hash.
    # @api private
    module EntryFields
      # The size of what precedes the values of a row, and of what precedes a text.
      HEAD = 2
      SIZE = 4
      # How the text of a value is read, by the letter for it.
      READERS = { "i" => :integer, "f" => :float, "b" => :boolean }.freeze
      private_constant :HEAD, :SIZE, :READERS

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

      # @return [Object, nil] what identifies the table of a row of PostgreSQL; nil for all other events
      def table_number
        field("table")
      end

      # @param field [String] the name of the field that holds a row of PostgreSQL
      # @param names [Array<String>] the names of its columns
      # @param codes [String] a letter for each column, which says how its text is read: `WalValues.code`
      # @return [Hash{String => Object}, nil] the values that the log has; nil if there is no such field
      def row(field, names, codes)
        tuple = field(field) or return
        at = HEAD
        names.each_with_index.with_object({}) do |(name, column), row|
          kind = tuple.getbyte(at)
          at += 1
          row[name] = nil if kind == "n".ord
          next unless kind == "t".ord

          size = tuple.unpack1("N", offset: at)
          row[name] = WalValues.public_send(READERS.fetch(codes[column], :text), tuple.byteslice(at + SIZE, size))
          at += SIZE + size
        end
      end
    end
    private_constant :EntryFields
  end
end
