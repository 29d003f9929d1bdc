# frozen_string_literal: true

require "rails/generators/base"
require_relative "../names"

module RedisIPC
  # For `rails generate`.
  module Generators
    # `rails generate redis_ipc:install`
    class InstallGenerator < ::Rails::Generators::Base
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

      # Makes Spring restart. Rails does not see a new folder in app before it starts again. Spring restarts it when a
      # file that it has loaded is newer; it cannot watch a folder that did not exist.
      # @return [void]
      def restart_spring
        file = File.join(destination_root, "config/application.rb")
        FileUtils.touch(file) if !@had_folder && File.exist?(file)
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
