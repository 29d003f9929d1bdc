# frozen_string_literal: true

require "rails/generators/named_base"
require_relative "../consumers"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:consumer NAME [stream] [--group GROUP]`
    class ConsumerGenerator < ::Rails::Generators::NamedBase
      include Consumers

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
        @had_folder = folder_there?
        class_collisions(generated_class)
      end

      # Creates the class that all consumers inherit from, where there is none.
      # @return [void]
      def create_base_class
        return if behavior == :revoke || base_class_there?

        template "application_events.rb.tt", BASE
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
    end
  end
end
