# frozen_string_literal: true

require "did_you_mean"
require "shellwords"

module RedisIPC
  class Admin
    # Decides what is wrong, and what to do about it. Each subclass knows one kind of things.
    # @api private
    class Findings
      class << self
        # @param overview [Overview] without findings
        # @return [Array<Finding>] the worst first
        def of(overview)
          kinds = [NodeFindings, SilenceFindings, GroupFindings, QueueFindings, EventFindings, MemberFindings,
                   IncidentFindings]
          sorted(causes(kinds.flat_map { |kind| kind.new(overview).all }))
        end

        # @param findings [Array<Finding>]
        # @return [Array<Finding>] the worst first
        def sorted(findings)
          findings.sort_by.with_index { |finding, index| [finding.rank, index] }.freeze
        end

        private

        # Leaves out what follows from handlers that hang: its own advice would be wrong.
        def causes(findings)
          stuck = findings.select { |one| one.kind == :stuck_handlers }.map(&:subject)
          findings.reject { |one| %i[waiting overrun].include?(one.kind) && stuck.include?(one.subject) }
        end
      end

      # @param overview [Overview]
      def initialize(overview)
        @overview = overview
      end

      # @return [Array<Finding>]
      def all
        @found = []
        look
        @found
      end

      # @param words [Array<#to_s>]
      # @return [String] a line for a shell, as every advice has it: the whole line, with all names
      def self.command(*words)
        "redis_ipc #{words.map(&:to_s).shelljoin}"
      end

      private

      def command(*words)
        Findings.command(*words)
      end

      # Returns the instances of groups, queues and consumers of events by what findings call them.
      def members
        groups = @overview.instances.group_by { |one| "#{one.stream}/#{one.group}" }
        queues = @overview.queues.to_h { |queue| [queue.name, queue.servers] }
        events = @overview.event_groups.to_h { |group| [group.path, group.instances] }
        groups.merge(queues, events) { |_, one, other| one + other }
      end

      def error(kind, subject, text, advice)
        add(:error, kind, subject, text, advice)
      end

      def warning(kind, subject, text, advice)
        add(:warning, kind, subject, text, advice)
      end

      def info(kind, subject, text, advice)
        add(:info, kind, subject, text, advice)
      end

      # A part of the texts comes from other processes.
      def add(level, kind, subject, text, advice)
        @found << Finding.new(level: level, kind: kind, subject: LogText.line(subject), text: LogText.line(text),
                              advice: LogText.line(advice))
      end

      def count(number, what)
        "#{number} #{what}#{"s" unless number == 1}"
      end

      # Returns such as "a, b, c and 4 more".
      def listed(names, most)
        more = " and #{names.size - most} more" if names.size > most
        "#{names.first(most).join(", ")}#{more}"
      end

      # Returns such as "1 request waits".
      def wait(number, what)
        "#{count(number, what)} #{number == 1 ? "waits" : "wait"}"
      end

      def seconds(time)
        return format("%.0f ms", time * 1_000) if time < 1
        return format("%.1f s", time) if time < 120

        time < 7_200 ? format("%.0f min", time / 60) : format("%.1f h", time / 3_600)
      end

      # Returns such as "14 s".
      def whole(time)
        time < 120 ? "#{time.floor} s" : seconds(time)
      end

      def since(time)
        seconds((@overview.at - time).clamp(0.0, nil))
      end

      # What a group is told, which all kinds have in common. A queue is a stream with one group, which has no name.
      def paused(told, subject, stream, group)
        resume = command("resume", group, "-s", stream)
        if told.paused?
          by = " by #{told.paused_by}" if told.paused_by
          at = " #{since(told.paused_at)} ago" if told.paused_at
          warning(:paused, subject, "it was paused#{by}#{at}: nothing new is taken", "to go on: #{resume}")
        end
        return if told.quiet.empty?

        info(:quiet, subject, "#{count(told.quiet.size, "instance")} told to take nothing new",
             "to take that back: #{resume} --instance #{told.quiet.first.shellescape}")
      end
    end
    private_constant :Findings
  end
end
