# frozen_string_literal: true

RSpec.describe "the page in a Rails application", timeout: 120 do
  let(:app) { RailsApp.new }

  after { app.stop }

  it "is mounted by a route, and finds its own links there" do
    app.write("config/routes.rb", <<~RUBY)
      Rails.application.routes.draw { mount RedisIPC::Web.new(streams: %w[shop], actions: true) => "/ipc" }
    RUBY
    said = app.run(<<~RUBY, REDIS_IPC_CONNECT: true, REDIS_IPC_CHANNELS: "WebIpc")
      def ask(path, **options)
        status, headers, body = Rails.application.call(Rack::MockRequest.env_for(path, **options))
        text = +""
        body.each { |part| text << part }
        [status, headers, text.force_encoding("UTF-8")]
      end
      _, _, page = ask("/ipc")
      puts page[%r{href="(/ipc/group[^"]*)"}, 1], ask("/ipc/group?stream=shop&group=web").first
      style = page[%r{href="(/ipc/style.css[^"]*)"}, 1]
      puts ask(style)[1].transform_keys(&:downcase)["content-type"]
      pause = { method: "POST", params: { stream: "shop", group: "web", act: "pause" } }
      puts ask("/ipc/group", **pause).first
      puts ask("/ipc/group", **pause, "HTTP_SEC_FETCH_SITE" => "same-origin")[1].transform_keys(&:downcase)["location"]
    RUBY
    expect(said.lines(chomp: true)).to eq(["/ipc/group?stream=shop&amp;group=web", "200", "text/css; charset=utf-8",
                                           "403", "/ipc/group?stream=shop&group=web&notice=pause"])
  end
end
