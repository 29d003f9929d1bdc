# frozen_string_literal: true

require "rails/generators/named_base"
require_relative "../class_names"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:channel NAME event...`
    class ChannelGenerator < ::Rails::Generators::NamedBase
      include ClassNames

      # Thor would name it redis_i_p_c.
      namespace "redis_ipc:channel"
      source_root File.expand_path("templates", __dir__)
      desc "Creates a channel in app/ipc, and a spec (or a test) for it."
      argument :events, type: :array, default: [], banner: "event event"
      class_option :test_framework, type: :string, desc: "rspec or minitest; rspec where there is a spec folder"

      # Checks the names before anything is written.
      # @return [void]
      # @raise [Thor::Error]
      def check
        @event_names = events.map { |event| Names.check("the event's name", event) }.uniq
        class_collisions(generated_class)
        return if behavior == :revoke || base_class.safe_constantize

        raise Thor::Error, "there is no #{base_class}, which channels inherit from: rails generate redis_ipc:install"
      end

      # @return [void]
      def create_channel
        template "channel.rb.tt", path_in("app/ipc")
      end

      # @return [void]
      def create_spec
        kind = test_kind
        template "channel_#{kind}.rb.tt", path_in(File.join(kind, "ipc"), "_#{kind}.rb") if kind
      end

      private

      def what
        "channel"
      end

      def suffix
        "ipc"
      end

      def base_word
        "application_ipc"
      end

      # Returns the names of tests. A test is a method whose name has underscores for spaces, so "a b" and "a_b"
      # collide.
      def test_names
        seen = Hash.new(0)
        @event_names.to_h do |event|
          count = seen[event.gsub(/\s+/, "_")] += 1
          [event, count == 1 ? "answers #{event}" : "answers #{event} (#{count})"]
        end
      end
    end
  end
end
