# frozen_string_literal: true

# Asks, and shows what it was told.
class AsksController < ActionController::API
  rescue_from(StandardError) { |error| render plain: "#{error.class}: #{error.message}", status: 500 }

  def show
    worker = WebIpc.trigger_event("work", target: "worker", params: { number: params[:number] }, timeout: 20).value!
    render json: { pid: Process.pid, worker: worker }
  end

  # Meanwhile somebody may edit a file.
  def itself
    render json: { value: WebIpc.trigger_event(params[:event] || "version", target: "web").value! }
  end

  def state
    busy = ActiveRecord::Base.connection_pool.stat[:busy]
    render json: { pid: Process.pid, busy: busy, connected: RedisIPC.channels.connected? }
  end
end
