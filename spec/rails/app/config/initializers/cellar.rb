# frozen_string_literal: true

# Fails if it runs before the initializers of railties.
Rails.application.config.cellar.then { |cellar| cellar.temperature = cellar.fetch(:temperature) - 1 }
