# frozen_string_literal: true

require_relative "../proxy"

module Chaos
  module Wal
    # A proxy that breaks a connection at a message of the server's: before it, within it, or after it.
    class CuttingProxy < Proxy
      # The messages by what the protocol calls them. Those of the log are in messages for copied data.
      LOGIN = { "R" => :authentication, "S" => :parameter, "K" => :backend_key, "Z" => :ready, "T" => :row_description,
                "D" => :row, "C" => :complete, "W" => :copy_both }.freeze
      LOG = { "B" => :begin, "C" => :commit, "R" => :relation, "I" => :insert, "U" => :update, "D" => :delete,
              "T" => :truncate, "M" => :message }.freeze
      KINDS = [*LOGIN.values, *LOG.values, :keepalive].freeze
      PLACES = %i[before within after].freeze
      # Where a message of the log begins in one for copied data.
      LOG_AT = 30
      private_constant :LOGIN, :LOG, :LOG_AT

      def initialize(target)
        @wanted = []
        @arrived = Hash.new { |all, socket| all[socket] = "".b }.compare_by_identity
        super
      end

      # Breaks the next connections at these messages, in the order in which they come.
      # @param cuts [Array<Array(Symbol, Symbol, Integer)>] the kinds, the places, and how many of the kind pass before
      def cut_at(cuts)
        @wanted = cuts.map(&:dup)
      end

      # Returns those that have not come yet.
      def uncut
        @wanted
      end

      private

      def pass(bytes, to, side)
        return super if side == :client || (@wanted.empty? && !@arrived.key?(to))

        arrived = @arrived[to] << bytes
        while (size = frame(arrived))
          message = arrived.slice!(0, size)
          place = wanted(kind(message))
          next super(message, to, side) unless place

          break_off(message, place, to)
        end
      end

      # The size of the first message, if all of it has come.
      def frame(arrived)
        size = arrived.unpack1("N", offset: 1) + 1 if arrived.bytesize >= 5
        size if size && arrived.bytesize >= size
      end

      def kind(message)
        return LOGIN[message[0]] unless message[0] == "d"

        message[5] == "k" ? :keepalive : LOG[message[LOG_AT]]
      end

      # Takes a cut at this kind of message off the list, and returns its place.
      def wanted(kind)
        found = @wanted.index { |one, *| one == kind } or return
        _, place, left = @wanted[found]
        unless left&.positive?
          @wanted.delete_at(found)
          return place
        end
        @wanted[found][2] -= 1
        nil
      end

      def break_off(message, place, to)
        part = { before: 0, within: message.bytesize / 2, after: message.bytesize }.fetch(place)
        to.write(message.byteslice(0, part))
        @arrived.delete(to)
        raise IOError, "the connection is broken on purpose"
      end
    end
  end
end
