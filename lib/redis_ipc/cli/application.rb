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
        # @param options [ApplicationOptions]
        # @param announcer [Announcer]
        # @return [RailsApplication, RubyFiles] one that was not loaded
        def of(options, announcer)
          %w[RAILS_ENV RACK_ENV].each { |name| ENV[name] = options.environment } if options.environment
          options.requires.each { |file| require File.file?(file) ? File.expand_path(file) : file }
          rails = options.files.empty? && RailsApplication.here?
          rails ? RailsApplication.new : RubyFiles.new(options.files, announcer)
        end
      end
    end
  end
end
