# frozen_string_literal: true

module Chaos
  # A fault that is not possible here, or that failed itself (then `failures` says so).
  NotRun = Struct.new(:fault, :reason, :failures) do
    # Returns the row of a fault that went wrong itself.
    def self.broken(fault, error)
      place = error.backtrace.find { |line| !line.include?("eventually") }
      new(fault, "#{error.class}: #{error.message}, at #{place}", ["it went wrong itself"])
    end

    def run?
      false
    end
  end

  # What the result of a fault has for every kind of load. A subclass defines `verdict`.
  class AnyRow
    attr_reader :fault, :books, :within

    # @param within [Float] the seconds in which service must be back
    def initialize(scene, books, within:)
      @fault = scene.fault
      @scene = scene
      @books = books
      @within = within
    end

    def run?
      true
    end

    # Returns whether every process ended by itself.
    def ended?
      @scene.ending.orderly
    end

    # Returns the broken promises in words.
    def failures
      @failures ||= verdict.failures
    end

    # Returns the errors that `on_error` was told of: by class, their number and the first message.
    def told
      all = books.diaries.flat_map { |diary| diary.told.select { |time, _| time >= began }.map(&:last) }
      all.group_by { |message| message[/\A[\w:]+\w/] }.transform_values { |messages| [messages.size, messages.first] }
    end

    # Returns processor time and commands per second, before and during the fault.
    def load
      @scene.load
    end

    # Returns when Redis was back.
    def back
      @scene.back
    end

    # Returns the length of the fault in seconds.
    def seconds
      back - began
    end

    private

    def began
      @scene.began
    end

    def ms(seconds)
      (seconds * 1000).round
    end
  end
end
