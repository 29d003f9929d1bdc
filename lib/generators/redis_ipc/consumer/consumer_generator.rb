# frozen_string_literal: true

require "rails/generators/named_base"
require_relative "../class_names"
require_relative "../spring"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:consumer NAME [stream] [--group GROUP]`
    class ConsumerGenerator < ::Rails::Generators::NamedBase
      include ClassNames
      include Spring

      # Thor would name it redis_i_p_c.
      namespace "redis_ipc:consumer"
      source_root File.expand_path("templates", __dir__)
      desc "Creates a consumer of events in app/events, and a spec (or a test) for it."
      argument :stream, type: :string, required: false, banner: "stream",
                        desc: "the stream whose events it handles; the consumer's name if none is given"
      class_option :group, type: :string, desc: "The group's name; the consumer's name if none is given"
      class_option :test_framework, type: :string, desc: "rspec or minitest; rspec where there is a spec folder"

      # Checks the names before anything is written.
      # @return [void]
      # @raise [Thor::Error]
      def check
        @stream_name = Names.check("the stream's name", stream || path_name)
        @group_name = Names.check("the group's name", options[:group] || path_name)
        @had_folder = File.directory?(File.join(destination_root, "app/events"))
        class_collisions(generated_class)
      end

      # Creates the class that all consumers inherit from, where there is none.
      # @return [void]
      def create_base_class
        file = "app/events/application_events.rb"
        there = File.exist?(File.join(destination_root, file)) || base_class.safe_constantize
        return if behavior == :revoke || there

        template "application_events.rb.tt", file
        restart_spring_unless(@had_folder)
      end

      # @return [void]
      def create_consumer
        template "consumer.rb.tt", path_in("app/events")
      end

      # @return [void]
      def create_spec
        kind = test_kind
        template "consumer_#{kind}.rb.tt", path_in(File.join(kind, "events"), "_#{kind}.rb") if kind
      end

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
    end
  end
end
