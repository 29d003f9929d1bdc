# frozen_string_literal: true

module Cellar
  # The application's own initializers may rely on this, because those of railties run before them.
  class Railtie < ::Rails::Railtie
    config.cellar = ActiveSupport::OrderedOptions.new

    initializer("cellar.defaults") { |app| app.config.cellar.temperature = 12 }
  end
end
