# frozen_string_literal: true

module Chaos
  # Prints rows as they come.
  class Report
    # The heading of each column, and its figure.
    COLUMNS = { "calls" => :calls, "answered" => :answered, "rejected" => :rejected, "timed out" => :timed_out,
                "failed" => :failed, "refused" => :refused, "dead" => :dead, "died" => :died, "lost" => :lost,
                "mixed up" => :mixed_up, "twice" => :twice, "reruns" => :reruns, "late" => :late,
                "back, ms" => :recovered_ms }.freeze
    NAME = 48

    class << self
      # Tells how all rows ended.
      def conclude(rows)
        failed = rows.select { |row| row.failures.any? }
        skipped = rows.reject(&:run?)
        puts "", "#{rows.size} faults, #{failed.size} failed, #{skipped.size} not run"
        (failed | skipped).each { |row| puts "  #{row.run? ? "failed" : "not run"}: #{row.fault.name}" }
      end
    end

    def introduce(within)
      puts "Load: #{Scene::ASKERS} asking processes, each with #{Scene::THREADS} threads that ask in turn and 100 " \
           "calls/s besides, whatever comes;"
      puts "#{Scene::ANSWERERS} answering processes with 3 consumers each. Target: back within #{within} s."
      puts "refused: by a limit on what waits. dead: dead letters. died: open calls of askers that were killed."
      puts "twice: ended twice. reruns: handler runs beyond once a request."
      puts "late: calls not answered though asked after the target."
      puts "", heading
    end

    def show(row)
      return puts("#{name(row.fault.name)} NOT RUN: #{row.reason}") unless row.run?

      puts line(row), *details(row).map { |detail| "    #{detail}" }
      $stdout.flush
    end

    private

    # What fills the first column.
    def name(text)
      text.ljust(self.class::NAME)
    end

    def heading
      "#{name("fault")} #{self.class::COLUMNS.keys.join("  ")}"
    end

    def line(row)
      figures = row.figures
      numbers = self.class::COLUMNS.map { |heading, figure| (figures[figure] || "never").to_s.rjust(heading.size) }
      "#{name(row.fault.name)} #{numbers.join("  ")}"
    end

    def told(row)
      row.told.map { |name, (count, first)| "on_error: #{count} x #{name}, first: #{first[0, 250]}" }
    end

    def failures(row)
      row.failures.map { |failure| "FAILED: #{failure}" }
    end

    def details(row)
      tolerated = ["tolerated: #{row.fault.tolerated}"] if row.fault.tolerated
      ["calls: #{row.seen.empty? ? "all answered" : row.seen.join("; ")}", "connected?: #{row.connected}", cost(row),
       *most(row), *told(row), *tolerated, *failures(row)]
    end

    def most(row)
      return if row.most.empty?

      redis, process = row.most.values_at(:redis, :process).map { |bytes| "#{bytes / (1024 * 1024)} MiB" }
      "at most #{row.most[:waiting]} requests waited at once; Redis had #{redis}, the largest process #{process}"
    end

    def cost(row)
      calm, storm = row.load.values_at(:calm, :storm).map do |load|
        "#{(load[:cpu] * 100).round} % of a core, #{load[:commands]&.round || "?"} commands/s"
      end
      "busiest process, and server: #{calm} before, #{storm} in the #{format("%.1f", row.seconds)} s of the fault"
    end
  end
end
