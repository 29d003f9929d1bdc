# frozen_string_literal: true

# The attributes must be empty whenever a handler begins.
class Current < ActiveSupport::CurrentAttributes
  attribute :number
end
