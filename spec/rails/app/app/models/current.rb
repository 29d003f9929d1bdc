# frozen_string_literal: true

# Must be empty whenever a handler begins.
class Current < ActiveSupport::CurrentAttributes
  attribute :number
end
