# frozen_string_literal: true

module RedisIPC
  module CLI
    # All verbs, by chapters of the help.
    # @api private
    module Catalog
      class << self
        # @return [Hash{String => Array<Class>}]
        def chapters
          CHAPTERS
        end

        # @return [Array<Class>]
        def verbs
          CHAPTERS.values.flatten
        end

        # Finds the verb that a command line begins with.
        # @param words [Array<String>]
        # @return [Array(Class, Array<String>), nil] the verb, and the words after it
        def find(words)
          [2, 1].each do |size|
            verb = verbs.find { |one| one.verb == words.first(size).join(" ") }
            return [verb, words.drop(size)] if verb
          end
          nil
        end

        # @param first [String, nil] the first word of verbs that have two
        # @return [Array<Class>] those verbs
        def group(first)
          verbs.select { |verb| verb.verb.start_with?("#{first} ") }
        end

        # @param words [Array<String>]
        # @return [String, nil] the verb that was probably meant
        def similar(words)
          require "did_you_mean"
          names = verbs.map(&:verb)
          names |= names.map { |name| name[/\A\S+/] }
          checker = DidYouMean::SpellChecker.new(dictionary: names)
          words.first(2).join(" ").then do |name|
            checker.correct(name).first
          end || checker.correct(words.first.to_s).first
        end
      end

      CHAPTERS = {
        "Ask and answer" => [Verbs::Request, Verbs::Serve, Verbs::RpcCall, Verbs::RpcServe, Verbs::Bench],
        "Look" => [Verbs::Doctor, Verbs::Top, Verbs::Groups, Verbs::Instances, Verbs::Pending, Verbs::Trace,
                   Verbs::Tap, Verbs::Web],
        "Act" => [Verbs::DeadList, Verbs::DeadShow, Verbs::DeadRetry, Verbs::DeadDiscard, Verbs::Pause, Verbs::Resume,
                  Verbs::Keys],
        "Events" => [Verbs::EventsPublish, Verbs::EventsStatus, Verbs::EventsLag, Verbs::EventsLosses,
                     Verbs::EventsPending, Verbs::EventsCheckpoint, Verbs::EventsDead, Verbs::EventsDoctor,
                     Verbs::EventsSlots],
        "Run and set up" => [Verbs::Work, Verbs::AclPrint, Verbs::AclCheck, Verbs::Completion]
      }.transform_values(&:freeze).freeze
      private_constant :CHAPTERS
    end
  end
end
