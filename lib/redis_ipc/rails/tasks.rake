# frozen_string_literal: true

namespace :redis_ipc do
  desc "Answer requests to the channels in app/ipc until told to end (TERM, INT)"
  task serve: :environment do
    Rails.application.eager_load! if Rails.application.config.cache_classes
    RedisIPC.channels.serve
  end
end
