# frozen_string_literal: true

module RedisIPC
  class Admin
    # Sends a request as a short-lived member does, to see whether it is answered.
    # @api private
    module TestRequest
      class << self
        # @param asking [Stream] one that is not connected
        # @return [Answer]
        def to_group(asking, link, group, content, timeout)
          measured do
            asking.on_error { |_| nil }.connect(redis_options: link.redis_options)
            response = asking.send_to_group(content: content, to: group, timeout: timeout)
            response.fulfilled? ? [:fulfilled, response.value, nil] : [:rejected, nil, shown(response.reason)]
          ensure
            asking.disconnect
          end
        end

        # @return [Answer]
        def to_queue(link, queue, method, params, timeout)
          measured do
            client = JSONRPC::Client.new(queue, redis_options: link.redis_options).on_error { |_| nil }
            [:fulfilled, client.connect.request(method, params, timeout: timeout), nil]
          rescue JSONRPC::Error => e
            [:rejected, nil, "#{e.message} (#{e.code})"]
          ensure
            client&.disconnect
          end
        end

        private

        def measured(&block)
          started = Monotonic.now
          outcome, value, reason = ended(&block)
          Answer.new(outcome: outcome, value: value, reason: reason, seconds: Monotonic.now - started)
        end

        def ended
          yield
        rescue CallError => e
          [e.outcome, nil, e.message]
        end

        def shown(reason)
          reason.is_a?(String) ? reason : JSON.generate(reason)
        end
      end
    end
    private_constant :TestRequest
  end
end
