# frozen_string_literal: true

class CreateVisits < ActiveRecord::Migration[6.1]
  def change
    create_table(:visits) { |table| table.integer :number }
  end
end
