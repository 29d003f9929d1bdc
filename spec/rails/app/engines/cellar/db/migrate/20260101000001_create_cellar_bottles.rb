# frozen_string_literal: true

class CreateCellarBottles < ActiveRecord::Migration[6.1]
  def change
    create_table(:cellar_bottles) { |table| table.string :label }
  end
end
