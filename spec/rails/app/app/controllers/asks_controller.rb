# frozen_string_literal: true

# Asks a channel, and shows the answer.
class AsksController < ActionController::API
  rescue_from(StandardError) { |error| render plain: "#{error.class}: #{error.message}", status: 500 }

  def show
    worker = WebIpc.trigger_event("work", target: "worker", params: { number: params[:number] }, timeout: 20).value!
    render json: { pid: Process.pid, worker: worker }
  end

  # Someone may edit a file meanwhile.
  def itself
    render json: { value: WebIpc.trigger_event(params[:event] || "version", target: "web").value! }
  end

  def state
    busy = ActiveRecord::Base.connection_pool.stat[:busy]
    render json: { pid: Process.pid, busy: busy, connected: RedisIPC.channels.connected? }
  end
end
