# frozen_string_literal: true

module RedisIPC
  class Admin
    # What the members of a group are told to do (docs/protocol.md, "Control"). It stays until it is taken back.
    # @api private
    class Control
      # How often a change is tried while others change the same.
      TRIES = 20
      private_constant :TRIES

      # @param text [String, nil] the value of the key
      # @return [Control]
      def self.read(text)
        values = text ? JSON.parse(text) : {}
        new(values.is_a?(Hash) ? values : {})
      rescue JSON::ParserError
        new({})
      end

      # Changes what a group is told.
      # @yieldparam values [Hash{String => Object}] what it was told
      # @yieldreturn [Hash{String => Object}] what it is told now
      # @return [Boolean] whether that is something else
      def self.change(link, stream, group)
        TRIES.times do
          before = link.read([[:control, stream, group]]).first
          raise before if before.is_a?(Exception)
          raise CommandError, no_text(stream, group) unless before.nil? || before.valid_encoding?

          now = read(before)
          after = new(yield(now.values)).text
          return false if after == now.text
          return true if link.call(:tell, stream, group, before, after)
        end
        raise CommandError, "others kept changing what #{LogText.of(stream)}/#{LogText.of(group)} is told to do"
      end

      def self.no_text(stream, group)
        "what #{LogText.of(stream)}/#{LogText.of(group)} is told to do is no text: delete the key of its control"
      end
      private_class_method :no_text

      # @return [Hash{String => Object}]
      attr_reader :values

      def initialize(values)
        @values = values
      end

      # @return [String, nil] what the key gets; nil if nothing is to be told
      def text
        JSONText.of(values) if paused? || quiet.any?
      end

      # @return [Boolean]
      def paused?
        values["paused"] == true
      end

      # @return [Array<String>] ids of instances
      def quiet
        quiet = values["quiet"]
        quiet.is_a?(Array) ? quiet.grep(String) : []
      end

      # @return [Hash{Symbol => Object}] the fields of a {Group}
      def fields
        at, by = values.values_at("at", "by")
        { paused: paused?, quiet: quiet.freeze, paused_by: paused? && by.is_a?(String) ? by : nil,
          paused_at: paused? ? Numbers.time(at) : nil }
      end
    end
    private_constant :Control
  end
end
