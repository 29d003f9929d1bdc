# frozen_string_literal: true

require_relative "class_names"
require_relative "spring"

module RedisIPC
  # For `rails generate`.
  module Generators
    # What the generators of consumers have in common: the folder, and the class that all consumers inherit from.
    # @api private
    module Consumers
      include ClassNames
      include Spring

      BASE = "app/events/application_events.rb"
      private_constant :BASE

      private

      def what
        "consumer"
      end

      def suffix
        "events"
      end

      def base_word
        "application_events"
      end

      # @return [Boolean] whether the folder is there
      def folder_there?
        File.directory?(File.join(destination_root, "app/events"))
      end

      # @return [Boolean] whether the class that all consumers inherit from is there
      def base_class_there?
        File.exist?(File.join(destination_root, BASE)) || !base_class.safe_constantize.nil?
      end
    end
  end
end
