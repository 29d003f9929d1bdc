# frozen_string_literal: true

namespace :redis_ipc do
  desc "Show who is alive on the streams of the channels in app/ipc"
  task(instances: :environment) { RedisIPC.channels.operations.instances }

  desc "Show the dead letters of the channels in app/ipc"
  task(dead_letters: :environment) { RedisIPC.channels.operations.dead_letters }

  namespace :dead_letters do
    desc "Try dead letters of a channel again: [KitchenIpc] for all, [KitchenIpc,1700000000000-0] for one"
    task :retry, %i[channel id] => :environment do |_, arguments|
      RedisIPC.channels.operations.settle(:retry, arguments[:channel], arguments[:id])
    end

    desc "Discard dead letters of a channel: [KitchenIpc] for all, [KitchenIpc,1700000000000-0] for one"
    task :discard, %i[channel id] => :environment do |_, arguments|
      RedisIPC.channels.operations.settle(:discard, arguments[:channel], arguments[:id])
    end
  end
end
