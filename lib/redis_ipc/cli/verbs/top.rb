# frozen_string_literal: true

require_relative "../admin_verb"
require_relative "../findings_text"
require_relative "../screen"

module RedisIPC
  module CLI
    module Verbs
      # Shows everything at a glance.
      # @api private
      class Top < AdminVerb
        verb "top"
        summary "show everything at a glance, again and again"
        about <<~TEXT
          Shows what redis_ipc doctor finds, the groups, the queues and the consumers of events that are named, and the
          servers of Redis, on a page of the terminal that is drawn again every two seconds. Q ends it, any other key
          draws it at once. Where standard output is no terminal it prints the page once.
        TEXT
        option :once, "-1", "--once", "print the page once"
        option :every, "-n", "--every SECONDS", "draw it again after so long (2)", type: Float, default: 2.0, least: 0.1
        shares :streams, :others, :redis, :json
        endless
        ends_with 0 => "it was ended"
        example "redis_ipc top -s house -q jobs --events orders", "shows all of it"
        example "redis_ipc top -s house --once --json | jq .groups", "prints all that there is to know"

        # What is wrong comes first, and leaves room for the rest.
        FINDINGS = 6
        GROUPS = %w[group answer busy waiting oldest taken asked/s answered/s p50 p95 p99 dead].freeze
        QUEUES = %w[queue servers busy waiting oldest processing answered/s p50 p95 p99 dead].freeze
        EVENTS = %w[consumer source processes lag oldest pending handled/s p95 dead losses].freeze
        NODES = %w[server role version memory clients ops/s latency].freeze
        SPARE = %w[p50 asked/s p99 taken processing source role].freeze
        private_constant :SPARE, :FINDINGS, :GROUPS, :QUEUES, :EVENTS, :NODES

        def run
          return terminal.json(admin.overview.to_h) if terminal.json?
          return terminal.say(page) if given[:once] || !terminal.terminal? || !$stdin.tty?

          Screen.new(terminal, given[:every]).run { page_or_error }
        end

        private

        # While Redis is away the page says so.
        def page_or_error
          page
        rescue CallError => e
          [heading(Time.now), "", *terminal.wrap(e.message).map { |line| terminal.paint(line, :red) }]
        end

        def page
          overview = admin.overview
          parts = [findings(overview.findings), table(GROUPS, overview.groups) { |one| group(one) },
                   table(QUEUES, overview.queues) { |one| queue(one) },
                   table(EVENTS, overview.event_groups) { |one| consumer(one) },
                   table(NODES, overview.nodes) { |one| node(one) }]
          [heading(overview.at), *parts.reject(&:empty?).flat_map { |lines| ["", *lines] }]
        end

        def heading(time)
          text = "redis_ipc #{VERSION}  #{clock(time)}  #{admin.address}"
          # A cluster has many addresses, and a line that goes on below would move all others.
          terminal.paint(terminal.columns ? text[0, terminal.columns] : text, :bold)
        end

        def findings(all)
          return [terminal.paint("nothing is wrong", :green)] if all.empty?

          lines = FindingsText.lines(all.first(FINDINGS), terminal)
          lines << "... and #{all.size - FINDINGS} more: redis_ipc doctor" if all.size > FINDINGS
          lines
        end

        def table(titles, values, &block)
          values.nil? || values.empty? ? [] : terminal.table(titles, values.map(&block), spare: SPARE)
        end

        def name_of(group)
          return cell("#{group.path} (paused)", :yellow) if group.paused?

          group.outdated ? cell("#{group.path} (figures #{Units.duration(group.outdated)} old)", :yellow) : group.path
        end

        def group(one)
          [name_of(one), "#{one.serving} of #{one.instances}", busy_of(one), alarming(one.waiting, :yellow),
           Units.duration(one.oldest), one.taken, Units.rate(one.asked), Units.rate(one.answered),
           *percentiles(one.run), alarming(one.dead)]
        end

        def queue(one)
          [one.paused? ? cell("#{one.name} (paused)", :yellow) : one.name, one.servers.count(&:alive?), busy_of(one),
           alarming(one.waiting, :yellow), Units.duration(one.oldest), one.processing, Units.rate(one.answered),
           *percentiles(one.run), alarming(one.dead)]
        end

        def consumer(one)
          [one.paused? ? cell("#{one.path} (paused)", :yellow) : one.path, one.source, one.instances.count(&:alive?),
           alarming(one.lag, :yellow), Units.duration(one.oldest), one.pending, Units.rate(one.answered),
           Units.duration(one.run&.p(0.95)), alarming(one.dead), alarming(one.losses.size)]
        end

        def node(one)
          limit = " of #{ByteSize.of(one.maxmemory)}" if one.maxmemory.to_i.positive?
          memory = "#{ByteSize.of(one.used_memory)}#{limit}" if one.used_memory
          memory = cell(memory, :red) if one.memory_share.to_f > 0.9
          [one.address, one.role, one.version, memory, one.clients, one.ops, Units.duration(one.latency)]
        end
      end
    end
  end
end
