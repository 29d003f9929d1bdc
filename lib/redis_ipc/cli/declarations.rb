# frozen_string_literal: true

require_relative "argument"
require_relative "common_options"

module RedisIPC
  module CLI
    # What a verb says about itself, once: its name, arguments, options, examples and exit statuses.
    # @api private
    module Declarations
      # @return [Array<Argument>]
      def arguments
        @arguments ||= []
      end

      # @return [Array<Option>] those of this verb alone
      def own_options
        @own_options ||= []
      end

      # @return [Array<Option>] those that it shares with others
      def common_options
        CommonOptions.of([*@shared, :always])
      end

      # @return [Array<Option>]
      def options
        own_options + common_options
      end

      # @return [Array<Array<String>>] command lines and what each does
      def examples
        @examples ||= []
      end

      # @param text [String, nil] sets it
      # @return [String] the name, such as `"dead list"`
      def verb(text = nil)
        text ? @verb = text.freeze : @verb
      end

      # @param text [String, nil] sets it
      # @return [String] what it does, in one line
      def summary(text = nil)
        text ? @summary = text.freeze : @summary
      end

      # @param text [String, nil] sets it
      # @return [String] what else there is to know: paragraphs, and indented lines that stay as they are
      def about(text = nil)
        text ? @about = text.freeze : @about.to_s
      end

      # @return [String] how it is called
      def usage
        ["redis_ipc #{verb}", *arguments.map(&:usage), "[options]"].join(" ")
      end

      # @return [Boolean] whether it connects to a Redis that its options name
      def redis?
        Array(@shared).include?(:redis)
      end

      # @return [Boolean] whether it loads the application, and with it this gem, by itself
      def application?
        Array(@shared).include?(:application)
      end

      # @return [Boolean] whether it goes on until it is interrupted, so that an interrupt is its normal end
      def endless?
        @endless == true
      end

      # @return [Array<Integer>] the exit statuses that it can have, in order
      def statuses
        common = [ExitStatus::FINE, ExitStatus::USAGE, *(ExitStatus::OF_REDIS if redis?)]
        (common | meanings.keys).sort
      end

      # @param status [Integer]
      # @return [String] what it means
      def meaning(status)
        meanings[status] || ExitStatus.text(status)
      end

      private

      def meanings
        @meanings ||= {}
      end

      def argument(name, text, **words)
        arguments << Argument.new(name, text, **words)
      end

      def option(name, *texts, **words)
        own_options << Option.new(name, *texts, **words)
      end

      def shares(*names)
        @shared = names
      end

      def example(command, text)
        examples << [command, text].freeze
      end

      # @param statuses [Array<Integer>] that need no words of their own
      # @param told [Hash{Integer => String}] what others mean here
      def ends_with(*statuses, **told)
        statuses.each { |status| meanings[status] = nil }
        meanings.update(told)
      end

      def endless
        @endless = true
      end
    end
  end
end
