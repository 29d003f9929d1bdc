# frozen_string_literal: true

# The web servers answer this channel.
class WebIpc < ApplicationIpc
  channel "web"

  event("confirm", params: [:number]) { { pid: Process.pid, number: params[:number] } }

  event("version") { 1 }

  event("relay") { WebIpc.trigger_event("version", target: "web").value! }
end
