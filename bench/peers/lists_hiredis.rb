# frozen_string_literal: true

require "hiredis"
require_relative "lists"

module Bench
  module Peers
    # The same with the C driver and four server loops.
    class ListsHiredis < Lists
      private

      def default_loops
        4
      end

      def driver
        :hiredis
      end
    end
  end
end
