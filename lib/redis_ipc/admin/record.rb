# frozen_string_literal: true

module RedisIPC
  class Admin
    # The record that an instance writes of itself (docs/protocol.md, "The record"). Any client that may write the key
    # can write anything, so everything is checked.
    # @api private
    class Record
      MOST = 64
      KINDS = %w[request_reply json_rpc events].freeze
      # The longest name of a group that a record may tell of, in bytes: each is compared with the names that there are.
      LONGEST = 1_024
      private_constant :MOST, :KINDS, :LONGEST

      # @param text [String, nil]
      # @param now [Float] Redis's time
      # @return [Record, nil] nil if it is none
      def self.read(text, now)
        values = text && Native.load_frozen(text)
        new(values, now) if values.is_a?(Hash)
      rescue ContentError, EncodingError
        nil
      end

      # @return [Hash{String => Object}] nil for each that is missing
      attr_reader :values

      def initialize(values, now)
        @values = values
        @now = now
      end

      # @return [Hash{Symbol => Object}] the fields of an {Instance}
      def fields
        { kind: kind, host: text("host"), pid: count("pid"), gem: text("gem"), started: time("started"),
          written: time("written"), settings: hash("settings"), paused: flag("paused"), handlers: count("handlers"),
          busy: count("busy"), running: running, counters: counts(values["counters"]), outcomes: outcomes,
          incidents: incidents, series: series, events: hash("events"), **histograms }
      end

      def kind
        text("kind")&.to_sym if KINDS.include?(values["kind"])
      end

      # @return [Array<Loss>]
      def losses
        rows((hash("events") || {})["losses"]) do |row|
          cause = row["cause"]
          if cause.is_a?(String)
            Loss.new(at: Numbers.time(row["at"]), cause: cause.to_sym, at_least: Numbers.whole(row["at_least"]),
                     at_most: Numbers.whole(row["at_most"]), since: Numbers.time(row["since"]),
                     until: Numbers.time(row["until"]))
          end
        end || []
      end

      private

      def text(name)
        value = values[name]
        value if value.is_a?(String)
      end

      def flag(name)
        value = values[name]
        value if [true, false].include?(value)
      end

      def count(name)
        Numbers.whole(values[name])
      end

      def hash(name)
        value = values[name]
        value if value.is_a?(Hash)
      end

      def time(name)
        Numbers.time(values[name])
      end

      def counts(value)
        value.select { |_, count| Numbers.whole(count) }.freeze if value.is_a?(Hash)
      end

      def outcomes
        found = hash("outcomes") or return
        found = found.reject { |name, _| name.bytesize > LONGEST }.first(MOST).to_h
        found.transform_values { |ends| counts(ends) }.compact.freeze
      end

      def rows(list, &block)
        return unless list.is_a?(Array)

        list.first(MOST).grep(Hash).filter_map(&block).freeze
      end

      # What runs longer than a lease writes its record with each heartbeat. Anything else may be over by now, so ages
      # are those when the record was written.
      def running
        rows(values["running"]) do |row|
          age = ran(row["since"])
          Running.new(**texts(row, :id, :from, :event, :frame), delivery: Numbers.whole(row["delivery"]), age: age)
        end
      end

      def ran(since)
        written = count("written")
        ((written - since) / 1_000.0).clamp(0.0, nil) if written && Numbers.whole(since)
      end

      def age(since)
        (@now - (since / 1_000.0)).clamp(0.0, nil) if Numbers.whole(since)
      end

      def incidents
        rows(values["incidents"]) do |row|
          kind, text = row.values_at("kind", "text")
          next unless kind.is_a?(String) && text.is_a?(String)

          Incident.new(at: Numbers.time(row["at"]), kind: kind.to_sym, text: text)
        end
      end

      def texts(row, *names)
        names.to_h { |name| [name, row[name.name].is_a?(String) ? row[name.name] : nil] }
      end

      def series
        Series.read(values["series"], age(values["written"]) || 0.0)
      end

      def histograms
        found = hash("histograms") || {}
        %w[call wait run].to_h { |name| [name.to_sym, Histogram.read(found[name])] }
      end
    end
    private_constant :Record
  end
end
