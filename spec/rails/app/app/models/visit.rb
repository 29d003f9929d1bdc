# frozen_string_literal: true

# A row for each request a worker has handled.
class Visit < ActiveRecord::Base
  WRITING = Mutex.new
  private_constant :WRITING

  # Debian's sqlite3 waits for a locked database without letting go of the GVL, so the thread that holds the lock could
  # not go on: one thread of a process writes at a time.
  def self.record(number)
    WRITING.synchronize { create!(number: number) }
  end
end
