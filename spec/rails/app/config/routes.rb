# frozen_string_literal: true

Rails.application.routes.draw do
  mount Cellar::Engine => "/cellar"
  get "ask", to: "asks#show"
  get "itself", to: "asks#itself"
  get "state", to: "asks#state"
end
