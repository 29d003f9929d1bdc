# frozen_string_literal: true

# What a consumer of PostgreSQL's log needs, and its errors if something is missing.
RSpec.describe "the set-up of events of PostgreSQL's log" do
  include WalDatabases

  let(:got) { Queue.new }

  before { pg.exec("SET client_min_messages = error; CREATE TABLE accounts (id int PRIMARY KEY)") }

  def watch(url = wal_url, **words)
    kept = got
    consume_from(wal: url, tables: "accounts", slot: "ipc", create: true, **words) { |event| kept << event }
  end

  # Starts a consumer that must fail, and returns the error.
  def refusal(url = wal_url, error: RedisIPC::ConfigurationError, **words)
    expect { watch(url, **words) }.to raise_error(error) { |raised| return raised.message }
  end

  describe "if something is missing" do
    it "names the statement that creates the publication, and creates nothing by itself" do
      expect(refusal(create: false))
        .to include('there is no publication "ipc"', 'CREATE PUBLICATION "ipc" FOR TABLE "public"."accounts"')
      expect(refusal(create: false, tables: nil)).to include('CREATE PUBLICATION "ipc" FOR ALL TABLES')
      expect(pg.exec("SELECT 1 FROM pg_publication").ntuples).to eq(0)
    end

    it "names the statement that creates the slot" do
      pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
      expect(refusal(create: false))
        .to include('no replication slot "ipc"', "SELECT pg_create_logical_replication_slot('ipc', 'pgoutput')")
      expect(slot).to be_nil
      make_slot("ipc")
      watch(create: false)
      expect(slot).not_to be_nil
    end

    it "names the statement that adds a table to the publication" do
      pg.exec("CREATE TABLE others (id int PRIMARY KEY); CREATE PUBLICATION ipc FOR TABLE accounts")
      expect(refusal(tables: %w[accounts others]))
        .to include('ALTER PUBLICATION "ipc" ADD TABLE "public"."others"')
    end

    it "publishes no table whose updates PostgreSQL would then refuse" do
      pg.exec("CREATE TABLE notes (text text)")
      expect(refusal(tables: %w[accounts notes]))
        .to include('"public"."notes" has no primary key', 'ALTER TABLE "public"."notes" REPLICA IDENTITY FULL')
      expect(refusal(tables: "nothing")).to include('there is no table "public"."nothing"')
      expect(pg.exec("SELECT 1 FROM pg_publication").ntuples).to eq(0)
    end

    it "says that the slot is of another kind" do
      pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
      pg.exec("SELECT pg_create_logical_replication_slot('ipc', 'test_decoding')")
      expect(refusal).to include('the plugin "test_decoding"', "take another name")
    end

    it "names the right that the user lacks" do
      role = "reader_#{database_name}"
      pg.exec("CREATE ROLE #{role} LOGIN")
      expect(refusal(wal_url(user: role),
                     error: RedisIPC::CommandError)).to match(/must be superuser or replication role|REPLICATION/)
        .and include("ALTER ROLE its_name REPLICATION")
      pg.exec("ALTER ROLE #{role} REPLICATION; CREATE PUBLICATION ipc FOR TABLE accounts")
      make_slot("ipc")
      watch(wal_url(user: role), create: false)
      pg.exec("INSERT INTO accounts VALUES (1)")
      expect(next_of(got)["id"]).to eq(1)
    ensure
      stop_consumers
      pg.exec("DROP ROLE IF EXISTS #{role}")
    end

    it "names the setting that a server without a logical log needs" do
      server = Databases::Cluster.new
      message = refusal("postgres://spec@/postgres?host=#{server.folder}")
      expect(message).to include("ALTER SYSTEM SET wal_level = 'logical'")
    ensure
      server&.stop
    end

    it "names the address at which nobody answers, without the password" do
      url = "postgres://me:s3cret@127.0.0.1:#{RedisServer.free_port}/app"
      message = refusal(url, error: RedisIPC::ConnectionError)
      expect(message).to include("PostgreSQL cannot be reached", "postgres://127.0.0.1:")
      expect(message).not_to include("s3cret")
    end
  end

  it "refuses options that make no sense" do
    {
      { slot: nil } => "needs a slot", { slot: "Ipc" } => "lower case letters", { tables: nil } => "needs tables",
      { order: :channel } => "must be :source, :key or :none", { order: [:key, { lanes: 3 }] } => "option :lanes",
      { on_slot_lost: :ignore } => ":create or :raise", { temporary: 1 } => "true or false",
      { lease: 3 } => "for streams", { dead_letters: {} } => "for streams", { group: "a" } => "unknown option :group",
      { from: :beginning } => "unknown option :from"
    }.each { |words, expected| expect(refusal(**words)).to include(expected) }
    message = refusal("http://me:s3cret@h")
    expect(message).to include("postgres://")
    expect(message).not_to include("s3cret")
    expect(refusal(exactly_once: Class.new)).to match(/exactly_once of .* needs a class of Active Record/)
    expect(refusal(exactly_once: Class.new, tables: nil)).to match(/exactly_once of .* needs tables:/)
  end

  it "takes names of libpq, and by default the environment" do
    watch({ host: cluster.folder, user: "spec", dbname: database_name })
    pg.exec("INSERT INTO accounts VALUES (1)")
    expect(next_of(got).source).to eq("#{database_name}/ipc")
    expect(consumers.first.inspect).to eq("#<RedisIPC::Events::Subscription the write-ahead log, ipc running>")
  end

  # This runs in a process of its own, because Active Record would affect other examples.
  it "takes one of several databases of Rails by its name", gem: "rails" do
    process = ruby(<<~RUBY)
      require "active_record"
      settings = { adapter: "postgresql", host: "#{cluster.folder}", username: "spec", database: "#{database_name}" }
      environment = ActiveRecord::ConnectionHandling::DEFAULT_ENV.call
      other = settings.merge(database: "no_such_database")
      ActiveRecord::Base.configurations = { environment => { primary: other, reports: settings } }
      words = { tables: "accounts", slot: "ipc", create: true }
      begin
        RedisIPC::Events.consume(wal: :other, **words) { nil }
      rescue RedisIPC::ConfigurationError => e
        puts e.message
      end
      begin
        RedisIPC::Events.consume(wal: :primary, **words) { nil }
      rescue RedisIPC::CommandError => e
        puts e.message
      end
      RedisIPC::Events.consume(wal: :reports, **words) { |event| puts event.source }
      puts "started"
      sleep
    RUBY
    expect(process.line).to include("has no such database")
    expect(process.line).to include("no_such_database")
    expect(process.line).to eq("started")
    pg.exec("INSERT INTO accounts VALUES (1)")
    expect(process.line).to eq("#{database_name}/ipc")
    process.kill
  end

  it "has no checkpoint and no dead letters, and no keys that can be paused without an order by key" do
    subscription = watch
    %i[checkpoint dead_letters].each do |name|
      expect { subscription.public_send(name) }.to raise_error(RedisIPC::ConfigurationError, /needs a stream/)
    end
    expect { subscription.pause(key: 1) }.to raise_error(RedisIPC::ConfigurationError)
  end

  describe "of the login" do
    # Starts a server that requires logins: md5 for one user; SCRAM-SHA-256, only over TLS, for the other.
    def with_logins
      skip Databases::Cluster.missing if Databases::Cluster.missing
      certificates = Certificates.new
      server = Databases::Cluster.new(WalDatabases::SETTINGS)
      port = RedisServer.free_port
      secure(server, certificates, port)
      yield server, "localhost:#{port}", certificates
    ensure
      stop_consumers
      server&.stop
      certificates&.remove
    end

    def secure(server, certificates, port)
      server.stop_serving
      server.install(%w[server.crt server.key].zip(certificates.for("server")).to_h)
      server.install("authority.crt" => certificates.authority_file)
      server.configure("listen_addresses" => "localhost", "port" => port.to_s, "ssl" => "on",
                       "ssl_ca_file" => "authority.crt")
      server.write("pg_hba.conf", <<~RULES)
        local all spec trust
        host all old all md5
        hostssl all new all scram-sha-256
        hostssl all known all cert
      RULES
      server.start
      server.query(<<~SQL)
        CREATE TABLE accounts (id int PRIMARY KEY);
        CREATE PUBLICATION ipc FOR TABLE accounts;
        SET password_encryption = 'md5'; CREATE ROLE old LOGIN REPLICATION PASSWORD 'pässword';
        SET password_encryption = 'scram-sha-256'; CREATE ROLE new LOGIN REPLICATION PASSWORD 'pässword';
        CREATE ROLE known LOGIN REPLICATION;
      SQL
      server.query("SELECT pg_create_logical_replication_slot('ipc', 'pgoutput')")
    end

    # Reads a change of the server's by a consumer with this URL.
    def works(server, url, **words)
      watch(url, create: false, **words)
      id = server.query("INSERT INTO accounts SELECT count(*) FROM accounts RETURNING id").getvalue(0, 0).to_i
      expect(next_of(got)["id"]).to eq(id)
      stop_consumers
    end

    def refused(url, error: RedisIPC::CommandError)
      refusal(url, error: error, create: false)
    end

    # Sets variables of the environment while the block runs.
    def with_environment(variables)
      before = ENV.to_h.slice(*variables.keys)
      ENV.update(variables)
      yield
    ensure
      variables.each_key { |name| ENV[name] = before[name] }
    end

    it "checks certificates as sslmode says, and knows SCRAM-SHA-256 and md5" do
      with_logins do |server, place, certificates|
        password = URI.encode_www_form_component("pässword")
        authority = certificates.authority_file
        url = "postgres://new:#{password}@#{place}/postgres"
        ["old:#{password}@#{place}/postgres?sslmode=disable", "new:#{password}@#{place}/postgres",
         "new:#{password}@#{place}/postgres?sslmode=verify-full&sslrootcert=#{authority}"].each_with_index do |rest, id|
          watch("postgres://#{rest}", create: false)
          server.query("INSERT INTO accounts VALUES (#{id})")
          expect(next_of(got)["id"]).to eq(id)
          stop_consumers
        end
        expect(refusal("#{url}?sslmode=disable", error: RedisIPC::CommandError,
                                                 create: false)).to include("no pg_hba.conf entry")
        message = refusal(url.sub(password, "guessed"), error: RedisIPC::CommandError, create: false)
        expect(message).to include("password authentication failed")
        expect(message).not_to include("guessed")
        expect(refusal(url.sub(":#{password}", ""), error: RedisIPC::CommandError,
                                                    create: false)).to include("PGPASSWORD")
        other = Certificates.new
        wrong = "#{url}?sslmode=verify-full&sslrootcert=#{other.authority_file}"
        expect(refusal(wrong, error: RedisIPC::ConnectionError, create: false)).to include("certificate")
        by_address = "#{url.sub("localhost", "127.0.0.1")}?sslrootcert=#{authority}&sslmode="
        expect(refusal("#{by_address}verify-full", error: RedisIPC::ConnectionError,
                                                   create: false)).to include("certificate")
        watch("#{by_address}verify-ca", create: false)
      ensure
        other&.remove
      end
    end

    it "knows client certificates, files of passwords, the environment, and channel binding" do
      with_logins do |server, place, certificates|
        checked = "sslmode=verify-full&sslrootcert=#{certificates.authority_file}"
        presents_certificates(server, "postgres://known@#{place}/postgres?#{checked}", certificates)
        looks_passwords_up(server, place, checked, certificates.path("passwords"))
        binds_logins(server, place, checked)
      end
    end

    def presents_certificates(server, url, certificates)
      expect(refused(url)).to include("certificate")
      mine, key = certificates.for("known")
      works(server, "#{url}&sslcert=#{mine}&sslkey=#{key}")
      with_environment("PGSSLCERT" => mine, "PGSSLKEY" => key) { works(server, url) }
      other, its_key = certificates.for("new")
      expect(refused("#{url}&sslcert=#{other}&sslkey=#{its_key}")).to include("certificate authentication failed")
    end

    def looks_passwords_up(server, place, checked, file)
      host, port = place.split(":")
      url = "postgres://new@#{place}/postgres?#{checked}"
      File.write(file, "# of the suite\nother:*:*:*:wrong\n#{host}:#{port}:postgres:new:pässword\n", perm: 0o600)
      works(server, "#{url}&passfile=#{file}")
      with_environment("PGPASSFILE" => file) { works(server, url) }
      variables = { "PGHOST" => host, "PGPORT" => port, "PGUSER" => "new", "PGDATABASE" => "postgres",
                    "PGPASSFILE" => file, "PGSSLMODE" => "verify-full", "PGSSLROOTCERT" => checked[/[^=]+\z/] }
      with_environment(variables) { works(server, {}) }
      with_environment("HOME" => File.dirname(file)) do
        expect(refused(url)).to include("file of passwords (PGPASSFILE, ~/.pgpass)")
        FileUtils.cp(file, File.join(Dir.home, ".pgpass"), preserve: true)
        works(server, url)
      end
      File.chmod(0o640, file)
      expect(refused("#{url}&passfile=#{file}")).to include("chmod 0600")
    end

    def binds_logins(server, place, checked)
      url = "postgres://new:#{URI.encode_www_form_component("pässword")}@#{place}/postgres"
      works(server, "#{url}?#{checked}&channel_binding=require")
      works(server, "#{url}?sslmode=require&channel_binding=require")
      works(server, "#{url}?#{checked}&channel_binding=disable")
      ["#{url.sub("new", "old")}?#{checked}", "postgres://spec@/postgres?host=#{server.folder}&port=#{place[/\d+\z/]}"]
        .each { |unbound| expect(refused("#{unbound}&channel_binding=require")).to include("channel_binding=require") }
    end
  end
end
