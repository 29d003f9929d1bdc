# frozen_string_literal: true

require_relative "../logs_verb"

module RedisIPC
  module CLI
    module Verbs
      # Says what consumers of PostgreSQL's log lack there.
      # @api private
      class EventsDoctor < LogsVerb
        verb "events doctor"
        summary "say what consumers of PostgreSQL's log lack there"
        about <<~TEXT
          Looks at the databases of PostgreSQL whose logs the consumers of the Rails application in this folder read;
          with FILES, those that are defined in these Ruby files. Below each finding is the statement that brings what
          is missing. Nothing is changed.
        TEXT
        argument :files, "Ruby files that define consumers", many: true
        shares :application, :json
        ends_with 1 => "a consumer lacks something, or there is none"
        example "bundle exec redis_ipc events doctor && bin/deploy", "deploys only if nothing is missing"

        MARKS = { ok: ["ok     ", :green], warning: ["warning", :yellow], error: ["error  ", :red] }.freeze
        private_constant :MARKS

        def run
          looking do |setups|
            found = setups.to_h { |setup| [setup, Events::Hosting.findings(setup)] }
            terminal.json? ? terminal.json(found.map { |setup, findings| row(setup, findings) }) : tell(found)
            found.values.flatten.any? { |finding| finding.level == :error } ? ExitStatus::FINDING : ExitStatus::FINE
          end
        end

        private

        def row(setup, findings)
          { consumer: setup.name, slot: setup.core.dig(:wal, :slot), server: setup.redis,
            findings: findings.map(&:to_h) }
        end

        def tell(found)
          found.each do |setup, findings|
            terminal.say("#{setup.name}: #{setup.title} (#{setup.redis})")
            findings.each do |finding|
              terminal.say("  #{terminal.paint(*MARKS.fetch(finding.level))}  #{finding.text}")
              finding.statements.each { |statement| terminal.say("           #{statement};") }
            end
          end
        end
      end
    end
  end
end
