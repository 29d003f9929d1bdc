# frozen_string_literal: true

module Cellar
  # What the application's own initializers may rely on: a railtie's come before them.
  class Railtie < ::Rails::Railtie
    config.cellar = ActiveSupport::OrderedOptions.new

    initializer("cellar.defaults") { |app| app.config.cellar.temperature = 12 }
  end
end
