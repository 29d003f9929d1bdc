# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Finds and loads the classes of one kind, those of engines too.
    # @api private
    class ClassFiles
      # @param kind [Kind]
      def initialize(kind)
        @kind = kind
      end

      # @raise [ConfigurationError] if an option names a class that does not exist
      def check
        check_names(@kind.plural, @kind.named.to_a - names)
        missing = @kind.options.keys.map(&:to_s) - names
        check_names(@kind.options_name, missing.reject { |name| @kind.class?(name.safe_constantize) })
      end

      # Loads the classes that run in this process.
      # @return [Hash{String => Class}]
      def load
        classes(names.select { |name| @kind.run?(name) })
      end

      # Loads all classes.
      # @return [Array<Class>] without those that only others inherit from
      def all
        classes(names).values
      end

      # @return [Hash{String => Time}] when each file was changed
      def times
        files = folders.flat_map { |folder| Dir.glob("#{folder}/**/*.rb") }
        files.to_h { |file| [file, (File.mtime(file) if File.exist?(file))] }
      rescue Errno::ENOENT
        # A file was deleted in between.
        retry
      end

      # Loads all files.
      def load_all
        names.each(&:constantize)
      end

      # @return [Boolean] whether the class is in one of the folders, and one that runs
      def include?(one)
        name = one.name
        name && @kind.run?(name) && folders.any? { |folder| names_in(folder).include?(name) }
      end

      private

      def names
        folders.flat_map { |folder| names_in(folder) }.uniq
      end

      def check_names(option, missing)
        return if missing.empty?

        raise ConfigurationError,
              "the option #{option} names #{missing.join(", ")}, but there are: #{names.sort.join(", ")}"
      end

      def classes(names)
        found = names.to_h { |name| [name, name.constantize] }
        @kind.runnable(found.select { |_, one| @kind.class?(one) })
      end

      def folders
        roots.grep(@kind.path)
      end

      # Leaves out folders inside that are autoload paths themselves: concerns.
      def names_in(folder)
        files = Dir.glob("#{folder}/**/*.rb")
        inner = roots.select { |root| root.start_with?("#{folder}/") }
        files.reject { |file| inner.any? { |root| file.start_with?("#{root}/") } }.map { |file| name(folder, file) }
      end

      # Returns the name of the class that the autoloader expects in a file.
      def name(folder, file)
        words = file.delete_prefix("#{folder}/").delete_suffix(".rb").split("/")
        words.map { |word| inflector ? inflector.camelize(word, file) : word.camelize }.join("::")
      end

      # Rails 6.1's classic autoloader has none.
      def inflector
        ::Rails.autoloaders.main&.inflector
      end

      def roots
        ActiveSupport::Dependencies.autoload_paths.map(&:to_s)
      end
    end
  end
end
