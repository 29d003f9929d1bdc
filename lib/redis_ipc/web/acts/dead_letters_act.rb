# frozen_string_literal: true

module RedisIPC
  class Web
    # Retries or discards dead letters: those that were chosen, or all that the page showed.
    # @api private
    class DeadLettersAct < Act
      # @return [Response]
      def call
        return back(:nothing_chosen, 0) if ids.empty?
        return confirm if verb == "discard" && request[:sure].nil?

        verb == "retry" ? retry_all : back(:discarded, ids.count { |id| box.discard(id) })
      end

      private

      def box
        @box ||= DeadLetterBox.asked_for(admin, request) || raise(BadRequest, Strings.text(:unknown_kind))
      end

      def verb
        verb, = request.fetch(:act).split("_")
        %w[retry discard].include?(verb) ? verb : raise(BadRequest, Strings.text(:unknown_act))
      end

      def ids
        request.all(request[:act].end_with?("_all") ? :shown : :id).uniq
      end

      def retry_all
        count = ids.count { |id| retry?(id) }
        back(count == ids.size ? :retried : :retried_some, count)
      end

      # What never was a request cannot be tried again.
      def retry?(id)
        box.retry(id)
      rescue MalformedEntryError
        false
      end

      def confirm
        Response.html(View.new(@context, ConfirmPage.new(@context, box, ids)).document)
      end

      def back(notice, count)
        see("/dead", **box.parameters, match: request[:match], notice: notice, count: count)
      end
    end
  end
end
