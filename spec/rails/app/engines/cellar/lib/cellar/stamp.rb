# frozen_string_literal: true

module Cellar
  # Middleware that an engine adds while the application boots.
  class Stamp
    def initialize(app)
      @app = app
    end

    def call(env)
      @app.call(env).tap { |_, headers, _| headers["x-cellar"] = "stamped" }
    end
  end
end
