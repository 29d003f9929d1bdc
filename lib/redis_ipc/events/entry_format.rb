# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads the fields of a stream's entries: those of {Events.publish}, or those of any other program. It is frozen.
    # @api private
    class EntryFormat
      include SourceFormat

      # The names of the fields that {Publication} writes.
      TYPE = "type"
      KEY = "key"
      DATA = "data"
      TRACEPARENT = "traceparent"
      ID = "id"
      # What {Consumer.forward} writes besides: what only a change has, as JSON.
      CHANGE = "change"
      # The fields that these write. An entry with any other field is of another program.
      OWN = [TYPE, KEY, DATA, TRACEPARENT, ID, CHANGE].freeze
      OPERATIONS = %w[insert update delete truncate message].to_h { |name| [name, name.to_sym] }.freeze
      # What the metadata have of a change.
      TOLD = %w[schema table lsn xid unchanged snapshot in_snapshot cascade restart_identity prefix
                transactional].freeze
      NOTHING = {}.freeze
      private_constant :OPERATIONS, :TOLD, :NOTHING

      # @return [String] the name of the stream that the entry is in
      attr_reader :source
      # @return [Hash{Symbol => Object}] the common name and the number of the partition, if there are partitions
      attr_reader :place

      # @param source [String]
      # @param json [String, false, nil] the field that holds JSON; false decodes none; nil decodes the entries of
      #   {Events.publish}
      # @param type [String, nil] the field that holds the type
      # @param by [String, nil] the field that holds the key, or its name in the data; nil means the key of
      #   {Events.publish}
      # @param partitions [Integer, nil] the number of partitions
      def initialize(source, json: nil, type: nil, by: nil, partitions: nil)
        @source = source
        @by = by
        @json = json
        @type = type
        @foreign = !(json.nil? && type.nil?)
        @place = {}.freeze
        @partitions = Array.new(partitions) { |number| partition(number) }.freeze if partitions
        freeze
      end

      # @param native [Native::StreamEvent]
      # @return [EntryFormat] the format for the stream of the event
      def of(native)
        @partitions && native.lane ? @partitions.fetch(native.lane) : self
      end

      # @return [String]
      def source_of(_entry)
        source
      end

      def kind
        :stream
      end

      def guarantee
        :at_least_once
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Symbol] `:message`, but of a change that was forwarded
      def operation(entry)
        OPERATIONS.fetch(change(entry)["operation"], :message)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{String => Object}, nil]
      def old(entry)
        old = change(entry)["old"]
        old if old.is_a?(Hash)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Transaction, nil] that of a change that was forwarded
      def transaction(entry)
        told = change(entry)
        xid, commit, index, committed = told.values_at("xid", "commit_lsn", "index", "committed_us")
        return unless commit && [xid, index, committed].all?(Integer)

        Transaction.new(xid, commit, index, told.values_at("first", "last"), committed)
      end

      # @return [Boolean] whether the consumer declares how to read entries, so that none has the form of
      #   {Events.publish}
      def foreign?
        @foreign
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String, nil]
      def type(entry)
        @type ? entry.field(@type) : (entry.field(TYPE) if own?(entry))
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String, nil] the id that the publisher gave it
      def id(entry)
        entry.field(ID) if own?(entry)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @yieldreturn [Object] the data
      # @return [String, nil]
      def key(entry)
        return entry.field(KEY) unless @by

        entry.field(@by) || part(yield, @by)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String, nil]
      def traceparent(entry)
        Tracing.checked(entry.field(TRACEPARENT))
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String] its id
      def position(entry)
        entry.id
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{Symbol => Object}]
      def metadata(entry)
        told = change(entry).slice(*TOLD).transform_keys(&:to_sym)
        { fields: entry.fields, traceparent: traceparent(entry), **place, **told }.compact
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Object] frozen
      # @raise [MalformedEntryError]
      def data(entry)
        return entry.fields if @foreign && !@json

        entry.decoded(@json)
      rescue ContentError
        malformed(entry, @json || DATA)
      end

      protected

      def move_to(partition)
        @place = { stream: source, partition: partition }.freeze
        @source = Partitions.stream(source, partition)
        @partitions = nil
      end

      private

      def partition(number)
        dup.tap { |format| format.move_to(number) }.freeze
      end

      # @return [String, nil] the part of the data, as the core reads it
      def part(data, name)
        value = data[name] if data.is_a?(Hash)
        value.to_s unless value.nil? || value.is_a?(Hash) || value.is_a?(Array)
      end

      # @return [Hash{String => Object}] what only a change has that was forwarded; else it is empty
      def change(entry)
        found = entry.decoded(CHANGE) if own?(entry) && entry.field(CHANGE)
        found.is_a?(Hash) ? found : NOTHING
      rescue ContentError
        NOTHING
      end

      # Whether the entry has the form of {Events.publish}, and the consumer declares no other.
      def own?(entry)
        !@foreign && entry.own?
      end

      def malformed(entry, name)
        text = entry.field(name)
        what = text.nil? ? "no field #{LogText.of(name)}" : "a field #{LogText.of(name)} that is no JSON"
        what += ": it is no UTF-8" unless text.nil? || text.encoding == Encoding::UTF_8 || text.ascii_only?
        raise MalformedEntryError.new("the entry has #{what}", stream: source, entry_id: entry.id)
      end
    end
    private_constant :EntryFormat
  end
end
