# frozen_string_literal: true

module RedisIPC
  module Events
    # Determines how to reach a database of PostgreSQL: by a URL, by options of libpq, or by the configuration of Rails.
    # @api private
    module WalSettings
      # The environment variables that libpq reads, too.
      ENVIRONMENT = %w[PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE PGSSLROOTCERT PGSSLCERT PGSSLKEY
                       PGCONNECT_TIMEOUT PGAPPNAME PGPASSFILE PGCHANNELBINDING USER HOME].freeze
      # The options of config/database.yml for the connection that have libpq's names.
      ALIKE = %i[host hostaddr port password sslmode sslrootcert sslcert sslkey connect_timeout passfile
                 channel_binding].freeze
      # All of them, and their names in libpq.
      RAILS = { username: "user", database: "dbname", **ALIKE.to_h { |name| [name, name.name] } }.freeze
      private_constant :ENVIRONMENT, :ALIKE, :RAILS

      class << self
        # @param who [String] the class
        # @param given [String, Hash, Symbol, nil]
        # @return [Hash{Symbol => Object}] the options for the core
        # @raise [ConfigurationError]
        def of(who, given)
          environment = ENV.slice(*ENVIRONMENT)
          case given
          when nil then { environment: environment }
          when String then { url: given, environment: environment }
          when Hash then { options: texts(given), environment: environment }
          when Symbol then { options: of_rails(who, given), environment: environment }
          else Check.refuse("wal of #{who} needs a URL, a Hash or a Symbol, got a #{given.class}")
          end
        end

        private

        def texts(options)
          options.to_h { |name, value| [name.to_s, value.to_s] }
        end

        # Reads the configuration of Rails. Active Record has already resolved a URL there.
        def of_rails(who, name)
          unless defined?(::ActiveRecord::Base)
            Check.refuse("wal #{name.inspect} of #{who} needs Active Record: give a URL or a Hash")
          end
          environment = ::ActiveRecord::ConnectionHandling::DEFAULT_ENV.call
          found = ::ActiveRecord::Base.configurations.configs_for(env_name: environment, name: name.name)
          Check.refuse("wal #{name.inspect} of #{who}: config/database.yml has no such database") unless found

          RAILS.filter_map { |ours, theirs| [theirs, found.configuration_hash[ours]&.to_s] }.to_h.compact
        end
      end
    end
    private_constant :WalSettings
  end
end
