# frozen_string_literal: true

module Cellar
  class Bottle < ActiveRecord::Base
    # Fails if the class is loaded before the engine's initializers have run.
    LABEL = Rails.application.config.cellar.fetch(:label)

    has_one_attached :photo
  end
end
