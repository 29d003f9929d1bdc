# frozen_string_literal: true

require "rbconfig"

module RedisIPC
  # Finds the line of the application in a backtrace.
  # @api private
  module ApplicationFrame
    # Where code is that is not the application's: this gem, Ruby, other gems.
    ELSEWHERE = [File.expand_path("../..", __dir__), "<internal:", *Gem.path,
                 *RbConfig::CONFIG.values_at("rubylibdir", "vendordir", "sitedir")].freeze
    private_constant :ELSEWHERE

    class << self
      # @param lines [Array<String>] a backtrace
      # @return [String, nil] its innermost line that is the application's; else its innermost line
      def of(lines)
        shown = RedisIPC.framework.clean_or_whole_backtrace(lines)
        shown.find { |line| !line.start_with?(*ELSEWHERE) } || shown.first
      end
    end
  end
  private_constant :ApplicationFrame
end
