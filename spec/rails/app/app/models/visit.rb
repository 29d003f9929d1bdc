# frozen_string_literal: true

# A row for each request a worker has handled.
class Visit < ActiveRecord::Base
end
