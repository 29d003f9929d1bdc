# frozen_string_literal: true

Cellar::Engine.routes.draw do
  get "bottles", to: ->(_) { [200, {}, [Cellar::Bottle::LABEL]] }
end
