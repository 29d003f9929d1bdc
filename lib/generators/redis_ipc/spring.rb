# frozen_string_literal: true

module RedisIPC
  # For `rails generate`.
  module Generators
    # Makes Spring restart. Rails does not see a new folder in app before it starts again. Spring restarts it when a
    # file that it has loaded is newer; it cannot watch a folder that did not exist.
    # @api private
    module Spring
      private

      # @param had_folder [Boolean] whether the folder in app was there before
      def restart_spring_unless(had_folder)
        file = File.join(destination_root, "config/application.rb")
        FileUtils.touch(file) if !had_folder && File.exist?(file)
      end
    end
  end
end
