# frozen_string_literal: true

module RedisIPC
  module Events
    # Checks what a consumer class declares about its source, its order and its batches.
    # @api private
    module Words
      STREAM = %i[group from json type].freeze
      BATCH = %i[size within].freeze
      # The options of each order.
      ORDER = { none: [], key: %i[by lanes partitions then], source: %i[then] }.freeze
      LANES = (1..1024)
      SIZES = (1..10_000)
      # The most seconds that a batch may take to fill.
      WITHIN = 60
      # The highest value of a part of an id.
      MOST = (2**64) - 1
      POSITION = /\A\d{1,20}-\d{1,20}\z/
      private_constant :STREAM, :BATCH, :ORDER, :LANES, :SIZES, :WITHIN, :MOST, :POSITION

      class << self
        # @return [Array(String, Hash)] the stream's name, and the checked options
        def stream(who, name, options)
          Check.refuse("#{who} has no source: call stream \"name\", group: \"name\"") if name.nil?
          Check.known(who, "stream", options, STREAM)

          [Check.named("the stream's name", name),
           { group: group(who, name, options[:group]), from: position("from: of stream", options[:from]),
             json: options[:json] == false ? false : field("json", options[:json]),
             type: field("type", options[:type]) }]
        end

        # @return [Hash{Symbol => Object}] the checked order, as the core takes it
        def order(who, order, options)
          known = ORDER[order]
          Check.refuse("the order of #{who} must be :none, :key or :source, got #{order.inspect}") unless known
          check_partitions(who, order, options) if options.key?(:partitions)
          Check.known(who, "order #{order.inspect}", options, known)
          { order: order.name, by: field("by", options[:by], "order"), lanes: number("lanes", options, LANES),
            partitions: number("partitions", options, Partitions::COUNT),
            holds_keys: holds_keys(who, options[:then]) }.compact
        end

        # @return [Array(Integer, Float)] the size, and the seconds
        def batch(who, options)
          Check.known(who, "batch", options, BATCH)
          Check.refuse("batch of #{who} needs a size: batch size: 500, within: 0.2") unless options.key?(:size)
          within = options.fetch(:within, 0.2)
          unless Check.seconds?(within) && within <= WITHIN
            Check.refuse("within: of batch must be a number of seconds, at most #{WITHIN}, got #{within.inspect}")
          end

          [Check.number("size: of batch", options[:size], SIZES), within.to_f]
        end

        # @param what [String] the declaration, for the message
        # @param given [Time, String, Symbol, nil]
        # @return [String, Integer] as the core takes it: an Integer is milliseconds since 1970
        # @raise [ConfigurationError]
        def position(what, given)
          case given
          when nil, :new, "new" then "new"
          when :beginning, "beginning" then "beginning"
          when POSITION then id(what, given)
          else time(what, given)
          end
        end

        private

        def group(who, stream, name)
          Check.refuse("the stream of #{who} needs a group: stream #{stream.inspect}, group: \"name\"") if name.nil?
          Check.named("the group's name", name)
        end

        # Checks that the order fits partitions: the key of an event determines its partition, and each partition is a
        # lane.
        def check_partitions(who, order, options)
          unless order == :key
            Check.refuse("partitions: of #{who} need order :key, got order #{order.inspect}: say " \
                         "order :key, partitions: #{options[:partitions].inspect}")
          end
          return unless options.key?(:lanes)

          Check.refuse("the order of #{who} needs either lanes:, of one stream, or partitions:, of which each is a " \
                       "stream: got both")
        end

        def number(word, options, range)
          given = options[word.to_sym]
          given && Check.number("#{word}: of order", given, range)
        end

        def field(word, name, place = "stream")
          return if name.nil?

          Check.named("#{word}: of #{place}, the name of a field,", name)
        end

        def holds_keys(who, after)
          return if after.nil? || after == :go_on
          return true if after == :hold_key

          Check.refuse("then: of the order of #{who} must be :go_on or :hold_key, got #{after.inspect}")
        end

        def id(what, given)
          given.split("-").all? { |part| part.to_i <= MOST } ? given : refuse_position(what, given)
        end

        def refuse_position(what, given)
          Check.refuse("#{what} must be :beginning, :new, a Time or an id like \"1767225600000-0\", " \
                       "got #{given.inspect}")
        end

        def time(what, given)
          time = given
          time = given.to_time if !given.is_a?(Time) && !given.is_a?(String) && given.respond_to?(:to_time)
          return (time.to_r * 1000).floor if time.is_a?(Time) && time.to_r >= 0

          refuse_position(what, given)
        end
      end
    end
    private_constant :Words
  end
end
