# frozen_string_literal: true

# A row for each request that a worker has handled.
class Visit < ActiveRecord::Base
  WRITING = Mutex.new
  private_constant :WRITING

  # Debian's sqlite3 keeps the GVL while it waits for a locked database, so the thread that holds the lock could not go
  # on. Therefore only one thread of a process writes at a time.
  def self.record(number)
    WRITING.synchronize { create!(number: number) }
  end
end
