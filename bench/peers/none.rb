# frozen_string_literal: true

module Bench
  module Peers
    # Bare Ruby: what memory and idle costs are compared with.
    class None
      def initialize(settings)
        @settings = settings
      end

      def answer; end

      def connect; end

      def close; end
    end
  end
end
