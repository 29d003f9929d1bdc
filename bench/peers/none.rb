# frozen_string_literal: true

module Bench
  module Peers
    # Bare Ruby, with which the costs of memory and of idling are compared.
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
