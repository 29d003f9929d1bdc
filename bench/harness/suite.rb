# frozen_string_literal: true

module Bench
  # What is measured, compared and recorded together: the calls, the events, or the live events.
  #
  # - name: that of its files in bench/results
  # - mark: what its marks in bench/RESULTS.md begin with
  # - command: what runs it
  # - purpose: what it measures
  # - peers: the titles of the peers by their names, in the order of the tables
  # - cases: all of them
  # - compared: a block that returns the peers that a reader would compare in a case
  # - absent: a block that returns why a peer cannot be measured here; nil if it can
  # - columns: the metrics of some cases, by their heading
  # - spread: the metrics of which the least and the most are shown too
  # - panels: the title and the metric of each case in the chart
  # - accents: the colors of peers in the chart; the others have one color
  # - targets: those of the project
  # - checked: the names of the cases that the targets compare
  # - kinds: how a case of a kind is measured: blocks that get the case, the peer, the options and the worlds
  Suite = Struct.new(:name, :mark, :command, :purpose, :peers, :cases, :compared, :absent, :columns, :spread, :panels,
                     :accents, :targets, :checked, :kinds, keyword_init: true) do
    # Returns the cases whose name or family is in `only`; all for nil.
    def selected(only)
      return cases unless only

      unknown = only.reject { |word| cases.any? { |one| [one.name, one.family].include?(word) } }
      raise ArgumentError, "unknown case #{unknown.join(", ")}; see --list" if unknown.any?

      cases.select { |one| only.include?(one.name) || only.include?(one.family) }
    end

    # Returns where its recorded run is, without .csv.
    def record
      File.join(RESULTS, name)
    end

    # Returns those of the peers that can be measured here. Of the others it says why not.
    def usable(peers)
      peers.select do |peer|
        why = absent.call(peer)
        warn "#{peer} is left out: #{why}" if why
        why.nil?
      end
    end
  end
end
