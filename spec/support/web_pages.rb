# frozen_string_literal: true

require "uri"

# Asks RedisIPC::Web for pages, as a web server does.
module WebPages
  Page = Struct.new(:status, :headers, :body) do
    # Returns what a reader sees.
    def text
      body.gsub(/<[^>]*>/, " ").gsub(/\s+/, " ")
    end

    def json
      JSON.parse(body, symbolize_names: true)
    end
  end

  # Headers that a browser sends with a form of the same site.
  SAME_SITE = { "HTTP_SEC_FETCH_SITE" => "same-origin" }.freeze

  def get(path, query = {}, web: self.web, **headers)
    ask(web, "GET", path, "QUERY_STRING" => URI.encode_www_form(query), **headers.transform_keys(&:to_s))
  end

  def post(path, form, web: self.web, **headers)
    headers = SAME_SITE if headers.empty?
    ask(web, "POST", path, "CONTENT_TYPE" => "application/x-www-form-urlencoded",
                           "rack.input" => StringIO.new(URI.encode_www_form(form)), **headers.transform_keys(&:to_s))
  end

  # Follows a form to the page that shows the result.
  def submit(path, form, web: self.web)
    answer = post(path, form, web: web)
    expect(answer.status).to eq(303), answer.text
    to, query = answer.headers.fetch("location").delete_prefix("/ipc").split("?")
    get(to, URI.decode_www_form(query), web: web)
  end

  def ask(web, method, path, **env)
    status, headers, body = web.call({ "REQUEST_METHOD" => method, "SCRIPT_NAME" => "/ipc", "PATH_INFO" => path,
                                       "QUERY_STRING" => "", "HTTP_HOST" => "ipc.example:3000",
                                       "rack.input" => StringIO.new, **env })
    Page.new(status, headers, body.join.force_encoding(Encoding::UTF_8))
  end
end
