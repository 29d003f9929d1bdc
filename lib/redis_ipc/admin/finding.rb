# frozen_string_literal: true

module RedisIPC
  class Admin
    # Something that is wrong, or will be, and what to do about it.
    class Finding < Value
      LEVELS = %i[error warning info].freeze
      private_constant :LEVELS

      # @return [Symbol] `:error`, `:warning` or `:info`
      attr_reader :level
      # @return [Symbol] such as `:stuck_handlers`; docs/admin.md lists them
      attr_reader :kind
      # @return [String] what it is about, such as "house/child"
      attr_reader :subject
      # @return [String] what is wrong
      attr_reader :text
      # @return [String] what to do
      attr_reader :advice

      # @return [Integer] 0 for what is worst
      # @api private
      def rank
        LEVELS.index(level)
      end
    end
  end
end
