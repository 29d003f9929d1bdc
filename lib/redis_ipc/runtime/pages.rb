# frozen_string_literal: true

module RedisIPC
  # Reads a list of Redis a page at a time.
  # @api private
  module Pages
    SIZE = 100
    private_constant :SIZE

    # @yieldparam after [String, nil] the id of the last row of the page before
    # @yieldparam count [Integer] the most rows of a page
    # @yieldreturn [Array<Hash>] the next page; each row has an `id`
    # @return [Enumerator] of the rows; each page is fetched when its first row is reached
    def self.rows
      Enumerator.new do |rows|
        after = nil
        loop do
          page = FiberWaker.outside { yield after, SIZE }
          after = page.last&.fetch(:id)
          page.each { |row| rows << row }
          break if page.size < SIZE
        end
      end
    end
  end
  private_constant :Pages
end
