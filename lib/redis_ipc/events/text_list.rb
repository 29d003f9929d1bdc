# frozen_string_literal: true

module RedisIPC
  module Events
    # A list of texts of any bytes in one text, as Redis writes the names of fields: `"4:name,3:age"`.
    # @api private
    module TextList
      class << self
        # @param list [String] the core has checked it
        # @return [Array<String>] frozen, in UTF-8 where they are that
        def read(list)
          list = list.b
          texts = []
          at = 0
          while at < list.bytesize
            colon = list.index(":", at)
            size = list.byteslice(at...colon).to_i
            texts << text(list.byteslice(colon + 1, size))
            at = colon + size + 2
          end
          texts.freeze
        end

        # @param texts [Array<#to_s>]
        # @return [String]
        def write(texts)
          texts.map { |text| text.to_s.b.then { |bytes| "#{bytes.bytesize}:".b << bytes } }.join(",")
        end

        private

        def text(bytes)
          bytes.force_encoding(Encoding::UTF_8)
          (bytes.valid_encoding? ? bytes : bytes.b).freeze
        end
      end
    end
    private_constant :TextList
  end
end
