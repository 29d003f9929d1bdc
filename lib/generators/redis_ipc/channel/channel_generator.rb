# frozen_string_literal: true

require "rails/generators/named_base"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:channel NAME event...`
    class ChannelGenerator < ::Rails::Generators::NamedBase
      # Thor would make redis_i_p_c of it.
      namespace "redis_ipc:channel"
      source_root File.expand_path("templates", __dir__)
      desc "Creates a channel in app/ipc, and a spec (or a test) for it."
      argument :events, type: :array, default: [], banner: "event event"
      class_option :test_framework, type: :string, desc: "rspec or minitest; rspec where there is a spec folder"
      check_class_collision suffix: "Ipc"

      # @return [void]
      def create_channel
        template "channel.rb.tt", File.join("app/ipc", class_path, "#{file_name}_ipc.rb")
      end

      # @return [void]
      def create_spec
        if rspec?
          template "channel_spec.rb.tt", File.join("spec/ipc", class_path, "#{file_name}_ipc_spec.rb")
        else
          template "channel_test.rb.tt", File.join("test/ipc", class_path, "#{file_name}_ipc_test.rb")
        end
      end

      private

      # KitchenIpc may be given as kitchen or kitchen_ipc.
      def assign_names!(name)
        super(name.delete_suffix("Ipc").delete_suffix("_ipc"))
      end

      def channel_name
        (class_path + [file_name]).join("/")
      end

      def rspec?
        framework = options[:test_framework]
        return framework == "rspec" if framework

        File.directory?(File.join(destination_root, "spec"))
      end
    end
  end
end
