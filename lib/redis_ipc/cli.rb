# frozen_string_literal: true

require "optparse"
require_relative "version"
require_relative "cli/usage_error"
require_relative "cli/exit_status"
require_relative "cli/option"
require_relative "cli/argument"
require_relative "cli/common_options"
require_relative "cli/declarations"
require_relative "cli/command_line"
require_relative "cli/terminal"
require_relative "cli/units"
require_relative "cli/help"
require_relative "cli/overview"
require_relative "cli/watch"
require_relative "cli/failure"
require_relative "cli/verb"
require_relative "cli/verbs/work"
require_relative "cli/verbs/events_doctor"
require_relative "cli/verbs/events_slots"
require_relative "cli/verbs/request"
require_relative "cli/verbs/serve"
require_relative "cli/verbs/rpc_call"
require_relative "cli/verbs/rpc_serve"
require_relative "cli/verbs/events_publish"
require_relative "cli/verbs/bench"
require_relative "cli/verbs/acl_print"
require_relative "cli/verbs/acl_check"
require_relative "cli/verbs/completion"
require_relative "cli/verbs/doctor"
require_relative "cli/verbs/top"
require_relative "cli/verbs/groups"
require_relative "cli/verbs/instances"
require_relative "cli/verbs/pending"
require_relative "cli/verbs/trace"
require_relative "cli/verbs/tap"
require_relative "cli/verbs/web"
require_relative "cli/verbs/dead_list"
require_relative "cli/verbs/dead_show"
require_relative "cli/verbs/dead_retry"
require_relative "cli/verbs/dead_discard"
require_relative "cli/verbs/pause"
require_relative "cli/verbs/resume"
require_relative "cli/verbs/keys"
require_relative "cli/verbs/events_status"
require_relative "cli/verbs/events_lag"
require_relative "cli/verbs/events_losses"
require_relative "cli/verbs/events_pending"
require_relative "cli/verbs/events_checkpoint"
require_relative "cli/verbs/events_dead"
require_relative "cli/catalog"
require_relative "cli/dispatcher"

module RedisIPC
  # The command `redis_ipc`. A verb is a class in `cli/verbs/`; {Catalog} lists them. It loads the rest of the gem when
  # a verb needs it: in a Rails application that is after Rails, so that the railtie is loaded too.
  # @api private
  module CLI
    # @param arguments [Array<String>] the command line
    # @return [Integer] the exit status
    def self.start(arguments)
      Dispatcher.new(Terminal.new).start(arguments)
    end
  end
end
