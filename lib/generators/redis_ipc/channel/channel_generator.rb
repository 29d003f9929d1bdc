# frozen_string_literal: true

require "rails/generators/named_base"
require_relative "../names"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:channel NAME event...`
    class ChannelGenerator < ::Rails::Generators::NamedBase
      # Words joined by `/`: the path of a file whose class Rails can load.
      NAME = %r{\A[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*\z}
      private_constant :NAME

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
        class_collisions(channel_class)
        return if behavior == :revoke || base_class.safe_constantize

        raise Thor::Error, "there is no #{base_class}, which channels inherit from: rails generate redis_ipc:install"
      end

      # @return [void]
      def create_channel
        template "channel.rb.tt", File.join("app/ipc", class_path, "#{file_name}_ipc.rb")
      end

      # @return [void]
      def create_spec
        kind = test_kind
        return if kind.nil?

        template "channel_#{kind}.rb.tt", File.join(kind, "ipc", class_path, "#{file_name}_ipc_#{kind}.rb")
      end

      private

      # Accepts kitchen and kitchen_ipc for KitchenIpc.
      def assign_names!(name)
        given = Names.check("the channel's name", name)
        super(given.underscore.delete_suffix("_ipc"))
        return if channel_name.match?(NAME) && channel_name != "ipc"

        raise Thor::Error, "#{given.inspect} is no name for a channel: letters, digits and _, a letter first, as in " \
                           "kitchen, LivingRoom or pantry/shelf"
      end

      def channel_name
        (class_path + [file_name]).join("/")
      end

      # Returns the class's name as the file implies it, whatever inflection the application has for "ipc".
      def channel_class
        (class_path + ["#{file_name}_ipc"]).map(&:camelize).join("::")
      end

      def base_class
        "application_ipc".camelize
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

      # Returns the kind of test to generate. The application sets a Symbol, the command line a String.
      # @return [String, nil] nil if no test is wanted
      def test_kind
        return folder?("spec") ? "spec" : "test" unless options.key?(:test_framework)

        case options[:test_framework]
        when nil, false then nil
        when :rspec, "rspec" then "spec"
        # `:test_unit` is Rails's default, so it is no choice: specs may run without rspec-rails.
        when :test_unit then folder?("spec") ? "spec" : "test"
        else "test"
        end
      end

      def folder?(name)
        File.directory?(File.join(destination_root, name))
      end
    end
  end
end
