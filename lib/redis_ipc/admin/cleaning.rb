# frozen_string_literal: true

module RedisIPC
  class Admin
    # Finds keys of a stream that nobody owns. What the gem writes expires by itself, but for what groups are told to
    # do. So these are reply streams and inboxes of nobody that never expire, and what groups are told that no process
    # has joined for a week.
    # @api private
    class Cleaning
      KEY = /\A(?<what>inbox|replies|control):(?<group>[^:]*)(?::(?<instance>[^:]+))?\z/
      # How many pages of keys of a node are read where the look must not take long.
      BRIEF = 50
      private_constant :KEY, :BRIEF

      # One key, and whose it is.
      Found = Struct.new(:key, :what, :group, :instance)
      private_constant :Found

      class << self
        # @param link [Link]
        # @return [Array<String>] streams that somebody is alive on
        # @raise [CallError] if Redis cannot be reached or refuses
        def streams(link)
          keys = link.call(:nodes).flat_map do |node|
            scan(Float::INFINITY) do |cursor|
              answer = link.read([[:streams, node, cursor]]).first
              answer.is_a?(Exception) ? raise(answer) : answer
            end
          end
          keys.uniq.map { |key| key.delete_suffix(":instances") }.sort.freeze
        end

        # @yieldparam cursor [String]
        # @yieldreturn [Array(String, Array<String>)] the next cursor, and a page of keys
        # @return [Array<String>] the keys of as many pages as `most` says
        def scan(most)
          cursor = "0"
          keys = []
          (1..).each do |number|
            cursor, page = yield cursor
            keys.concat(Keys.readable(page))
            break keys if cursor == "0" || number >= most
          end
        end
      end

      # @param link [Link]
      # @param stream [String]
      def initialize(link, stream)
        @link = link
        @stream = stream
      end

      # @param dry [Boolean] whether to leave them
      # @return [Array<String>] the keys
      # @raise [CallError] if Redis cannot be reached or refuses
      def call(dry)
        keys = found(Float::INFINITY)
        @link.call(:delete, keys) unless dry || keys.empty?
        keys
      end

      # @return [Array<String>] those of the keys that a short look finds
      # @raise (see #call)
      def brief
        found(BRIEF)
      end

      private

      def found(most)
        @reading = Rounds.run(@link, [StreamReading.new(@stream)]).first
        without_owner(rows(most)).map(&:key).sort.freeze
      end

      def rows(most)
        keys = @link.call(:nodes).flat_map { |node| keys_of(node, most) }.uniq
        keys.filter_map { |key| row(key) }
      end

      def row(key)
        parts = KEY.match(key.delete_prefix("#{@stream}:"))
        return unless parts

        group, instance = parts.values_at(:group, :instance).map { |part| part && Keys.decode(part) }
        Found.new(key, parts[:what], group, instance)
      end

      def keys_of(node, most)
        Cleaning.scan(most) { |cursor| answer([:keys, node, @stream, cursor]) }
      end

      def answer(query)
        answer = @link.read([query]).first
        answer.is_a?(Exception) ? raise(answer) : answer
      end

      def without_owner(found)
        alive = @reading.instances.select(&:alive?)
        @alive = alive.map(&:id)
        @served = alive.map(&:group)
        @known = @reading.groups.map(&:name)
        found.reject { |one| owned?(one) }
      end

      def owned?(one)
        case one.what
        when "control" then one.instance || @known.include?(one.group)
        when "replies" then @alive.include?(one.instance) || !forever?(one)
        else @served.include?(one.group) || !forever?(one)
        end
      end

      def forever?(one)
        answer([:expiry, one.key]) == -1
      end
    end
    private_constant :Cleaning
  end
end
