# frozen_string_literal: true

require "digest"

module RedisIPC
  class Web
    # The style sheet, the script and the icon. Their addresses contain a digest, so browsers keep them for a year.
    # @api private
    module Assets
      FOLDER = File.expand_path("assets", __dir__)
      TYPES = { "style.css" => "text/css; charset=utf-8", "script.js" => "text/javascript; charset=utf-8",
                "icon.svg" => "image/svg+xml" }.freeze
      TEXTS = TYPES.keys.to_h { |name| [name, File.binread(File.join(FOLDER, name)).freeze] }.freeze
      VERSIONS = TEXTS.transform_values { |text| Digest::SHA256.hexdigest(text)[0, 12].freeze }.freeze
      private_constant :FOLDER, :TYPES, :TEXTS, :VERSIONS

      class << self
        # @param name [String]
        # @return [String]
        def version(name)
          VERSIONS.fetch(name)
        end

        # @param path [String]
        # @return [Boolean]
        def include?(path)
          TEXTS.key?(path.delete_prefix("/"))
        end

        # @param request [Request]
        # @return [Response]
        def response(request)
          name = request.path.delete_prefix("/")
          kept = request[:v] == version(name) ? "public, max-age=31536000, immutable" : "no-cache"
          Response.new(200, TEXTS.fetch(name), "content-type" => TYPES.fetch(name), "cache-control" => kept)
        end
      end
    end
  end
end
