# frozen_string_literal: true

# `redis_ipc work` answers this channel.
class WorkerIpc < ApplicationIpc
  channel "worker"

  event("work", params: [:number]) do
    leaked = Current.number
    Current.number = params[:number]
    Visit.record(params[:number])
    confirmed = WorkerIpc.trigger_event("confirm", target: "web", params: params.to_h).value!
    { pid: Process.pid, leaked: leaked, confirmed: confirmed, visits: Visit.where(number: params[:number]).count }
  end

  event("crash") { Process.kill(:KILL, Process.pid) }
end
