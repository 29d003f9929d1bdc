# frozen_string_literal: true

require_relative "announcer"
require_relative "rails_application"
require_relative "ruby_files"

module RedisIPC
  module CLI
    # Finds the application that a verb is about.
    # @api private
    module Application
      class << self
        # @param given [Hash{Symbol => Object}] the arguments and options of the verb
        # @param announcer [Announcer]
        # @return [RailsApplication, RubyFiles] one that was not loaded
        def of(given, announcer)
          %w[RAILS_ENV RACK_ENV].each { |name| ENV[name] = given[:environment] } if given[:environment]
          given[:requires].each { |file| require File.file?(file) ? File.expand_path(file) : file }
          rails = given[:files].empty? && RailsApplication.here?
          rails ? RailsApplication.new : RubyFiles.new(given[:files], announcer)
        end
      end
    end
  end
end
