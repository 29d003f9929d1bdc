# frozen_string_literal: true

module Cellar
  # An engine with the parts that gems have: middleware, an initializer, migrations, a model and a channel.
  class Engine < ::Rails::Engine
    isolate_namespace Cellar

    initializer("cellar.middleware") { |app| app.middleware.use Stamp }

    initializer "cellar.migrations" do |app|
      app.config.paths["db/migrate"].concat(config.paths["db/migrate"].expanded)
    end

    # The model reads this while its class is loaded.
    initializer("cellar.label") { |app| app.config.cellar.label = "Cellar" }
  end
end
