# frozen_string_literal: true

workers Integer(ENV.fetch("WORKERS"))
threads 4, 4
preload_app!(ENV["PRELOAD"] == "true")
fork_worker if ENV["FORK_WORKER"] == "true"
bind "tcp://127.0.0.1:#{ENV.fetch("PORT")}"
environment ENV.fetch("RAILS_ENV")
worker_shutdown_timeout 20
plugin :redis_ipc unless ENV["WITHOUT_PLUGIN"]
# `bin/rails restart` needs this.
plugin :tmp_restart
