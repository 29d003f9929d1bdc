# frozen_string_literal: true

require "rails/generators/base"
require_relative "../names"
require_relative "../spring"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:install`
    class InstallGenerator < ::Rails::Generators::Base
      include Spring

      # Thor would name it redis_i_p_c.
      namespace "redis_ipc:install"
      source_root File.expand_path("templates", __dir__)
      desc "Creates config/redis_ipc.yml, and app/ipc with the class all channels inherit from; adds Puma's plugin."
      class_option :stream, type: :string, desc: "The stream's name, the same in all applications that talk"

      # Checks the name before anything is written.
      # @return [void]
      # @raise [Thor::Error]
      def check
        @stream_name = Names.check("the stream's name", options[:stream] || application_name)
        @had_folder = File.directory?(File.join(destination_root, "app/ipc"))
      end

      # @return [void]
      def create_configuration
        template "redis_ipc.yml.tt", "config/redis_ipc.yml"
      end

      # @return [void]
      def create_base_class
        template "application_ipc.rb.tt", "app/ipc/application_ipc.rb"
      end

      # @return [void]
      def restart_spring
        restart_spring_unless(@had_folder)
      end

      # Adds the line that tells the gem that a server has loaded the application. One older than Rails 6.1 may lack it.
      # @return [void]
      def check_rackup_file
        complete "config.ru", "Rails.application.load_server", /\bload_server\b/
      end

      # Adds the plugin, because no `at_exit` block runs when Puma restarts by `exec`.
      # @return [void]
      def check_puma_configuration
        complete "config/puma.rb", "plugin :redis_ipc", /\bplugin\b.*\bredis_ipc\b/
      end

      private

      # Appends a line to a file that lacks it. A commented line does not count.
      def complete(name, line, known)
        file = File.join(destination_root, name)
        return unless File.exist?(file)

        text = File.read(file)
        return if text.match?(/^[^#\n]*#{known}/)

        append_to_file name, "#{"\n" unless text.end_with?("\n")}#{line}\n"
      end

      def application_name
        ::Rails.application.class.name.deconstantize.underscore.presence || "application"
      end
    end
  end
end
