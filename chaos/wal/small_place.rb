# frozen_string_literal: true

require "open3"
require_relative "place"

module Chaos
  module Wal
    # A place whose server has a small disk of its own: a file system in memory. Only root can make one.
    class SmallPlace < Place
      SIZE = "160m"

      def initialize
        @folder = Dir.mktmpdir("redis_ipc_small")
        _, status = Open3.capture2e("mount", "-t", "tmpfs", "-o", "size=#{SIZE}", "tmpfs", @folder)
        @is_mounted = status.success?
        raise Chaos::Scene::Impossible, "no file system can be mounted here" unless @is_mounted

        data = File.join(@folder, "cluster")
        Dir.mkdir(data)
        super({ "restart_after_crash" => "off" }, folder: data)
      end

      # Fills the disk while the block runs.
      def fill
        ballast = File.join(@folder, "ballast")
        File.open(ballast, "wb") do |file|
          loop { file.syswrite("\0" * 65_536) }
        rescue Errno::ENOSPC
          nil
        end
        yield
      ensure
        File.delete(ballast)
      end

      def stop
        super
      ensure
        Open3.capture2e("umount", @folder) if @is_mounted
        Dir.rmdir(@folder)
      end
    end
  end
end
