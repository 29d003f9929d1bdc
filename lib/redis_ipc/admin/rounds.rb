# frozen_string_literal: true

module RedisIPC
  class Admin
    # Lets several readings share round trips. A reading is a callable that gets a {Questions}, and asks by it; what all
    # readings ask for at the same step goes to Redis together.
    # @api private
    class Rounds
      # What a reading asks by.
      class Questions
        # @return [Float] Redis's time in seconds since 1970
        attr_reader :now

        def initialize(now)
          @now = now
        end

        # @param queries [Array<Array>]
        # @return [Array<Object>] the answers
        # @raise [CallError] the first refusal
        def ask(queries)
          answers = Fiber.yield(queries)
          refusal = answers.find { |answer| answer.is_a?(Exception) }
          raise refusal if refusal

          answers
        end

        # @param queries [Array<Array>]
        # @return [Array<Object, nil>] the answers, with nil for what was refused
        def try(queries)
          Fiber.yield(queries).map { |answer| answer unless answer.is_a?(Exception) }
        end

        # @param queries [Array<Array>]
        # @return [Array<Object, Exception>] the answers, with the exception for what was refused
        def hear(queries)
          Fiber.yield(queries)
        end
      end

      # One reading under way.
      class Course
        attr_reader :queries, :result

        def initialize(reading, questions)
          # A fiber scheduler must not switch in the midst of a reading.
          @fiber = Fiber.new(blocking: true) do
            @result = reading.call(questions)
            nil
          end
          resume(nil)
        end

        def resume(answers)
          @queries = @fiber.resume(answers)
        end

        def done?
          @queries.nil?
        end
      end
      private_constant :Course

      class << self
        # @param link [Link]
        # @param readings [Array<#call>]
        # @return [Array<Object>] what the readings return
        # @raise [CallError] if one raises it
        def run(link, readings)
          questions = Questions.new(link.now)
          courses = readings.map { |reading| Course.new(reading, questions) }
          loop do
            open = courses.reject(&:done?)
            break if open.empty?

            step(link, open)
          end
          courses.map(&:result)
        end

        private

        def step(link, courses)
          answers = link.read(courses.flat_map(&:queries))
          courses.each { |course| course.resume(answers.shift(course.queries.size)) }
        end
      end
    end
    private_constant :Rounds
  end
end
