# frozen_string_literal: true

require "cgi"

module Bench
  # A bar chart as SVG: a panel for each case, and in it a bar for each peer: its median, and a line from the least to
  # the most.
  class Chart
    WIDTH = 760
    LABELS = 270
    BAR = 16
    LINE = 22
    OTHERS = "#5b7fa6"

    # @param suite [Suite]
    # @param measurements [Measurements]
    def initialize(suite, measurements)
      @suite = suite
      @measurements = measurements
    end

    def write(path)
      panels = @suite.panels.select { |name, _| @measurements.cases.include?(name) }
      File.write(path, svg(panels)) if panels.any?
    end

    private

    def svg(panels)
      height = 10
      body = panels.map do |name, (title, metric)|
        panel(name, title, metric, height).tap { height += 40 + (peers(name).size * LINE) }
      end
      <<~SVG
        <svg xmlns="http://www.w3.org/2000/svg" width="#{WIDTH}" height="#{height}" font-family="sans-serif" font-size="12">
        <rect width="100%" height="100%" fill="white"/>
        #{body.join}</svg>
      SVG
    end

    def panel(name, title, metric, top)
      most = peers(name).map { |peer| @measurements.values(name, peer, metric).last }.max
      scale = (WIDTH - LABELS - 80) / most
      bars = peers(name).each_with_index.map do |peer, index|
        bar(peer, @measurements.values(name, peer, metric), @measurements.median(name, peer, metric),
            top + 26 + (index * LINE), scale)
      end
      "<text x=\"10\" y=\"#{top + 14}\" font-weight=\"bold\">#{CGI.escapeHTML(title)}</text>\n#{bars.join}"
    end

    def bar(peer, values, median, top, scale)
      least, most = values.minmax.map { |value| (LABELS + (value * scale)).round(1) }
      middle = top + (BAR / 2)
      <<~SVG
        <text x="#{LABELS - 8}" y="#{top + 12}" text-anchor="end">#{CGI.escapeHTML(@suite.peers.fetch(peer))}</text>
        <rect x="#{LABELS}" y="#{top}" width="#{(median * scale).round(1)}" height="#{BAR}" fill="#{@suite.accents.fetch(peer, OTHERS)}"/>
        <line x1="#{least}" y1="#{middle}" x2="#{most}" y2="#{middle}" stroke="black"/>
        <text x="#{most + 6}" y="#{top + 12}">#{median.round}</text>
      SVG
    end

    def peers(name)
      @suite.peers.keys & @measurements.peers(name)
    end
  end
end
