# frozen_string_literal: true

require "rails/generators/base"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:install`
    class InstallGenerator < ::Rails::Generators::Base
      # Thor would make redis_i_p_c of it.
      namespace "redis_ipc:install"
      source_root File.expand_path("templates", __dir__)
      desc "Creates config/redis_ipc.yml, and app/ipc with the class all channels inherit from."
      class_option :stream, type: :string, desc: "The stream's name, the same in all applications that talk"

      # @return [void]
      def create_configuration
        template "redis_ipc.yml.tt", "config/redis_ipc.yml"
      end

      # @return [void]
      def create_base_class
        template "application_ipc.rb.tt", "app/ipc/application_ipc.rb"
      end

      # An application older than Rails 6.1 may lack what tells that a server has loaded it.
      # @return [void]
      def check_rackup_file
        return unless File.exist?(File.join(destination_root, "config.ru"))
        return if File.read(File.join(destination_root, "config.ru")).include?("load_server")

        append_to_file "config.ru", "Rails.application.load_server\n"
      end

      private

      def stream_name
        options[:stream] || ::Rails.application.class.name.deconstantize.underscore.presence || "application"
      end
    end
  end
end
