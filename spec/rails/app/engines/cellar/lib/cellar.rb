# frozen_string_literal: true

require_relative "cellar/stamp"
require_relative "cellar/railtie"
require_relative "cellar/engine"
