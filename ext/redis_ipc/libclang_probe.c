/* Loads a libclang as bindgen does, and lets it read a C file.
 *   libclang_probe LIBRARY FILE [ARGUMENT...]
 * What libclang says about the file goes to stderr. The exit status: 0 for a libclang that can be used, else one of the
 * reasons below. Without arguments: 0. */
#include <dlfcn.h>
#include <stdio.h>

enum { USABLE, NOT_LOADED, TOO_OLD, NOT_READ };

typedef void *(*create_index)(int exclude_declarations, int display_diagnostics);
typedef void *(*parse)(void *index, const char *file, const char *const *arguments, int count, void *files,
                       unsigned files_count, unsigned options);
typedef unsigned (*count_diagnostics)(void *unit);
typedef void *(*diagnostic_at)(void *unit, unsigned index);
typedef int (*severity_of)(void *diagnostic);

int main(int argc, char **argv) {
  const int error = 3; /* CXDiagnostic_Error */
  void *library, *unit;
  create_index index;
  parse read;
  count_diagnostics count;
  diagnostic_at at;
  severity_of severity;

  if (argc < 3) return USABLE;
  library = dlopen(argv[1], RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return NOT_LOADED;
  }
  index = (create_index)dlsym(library, "clang_createIndex");
  read = (parse)dlsym(library, "clang_parseTranslationUnit");
  count = (count_diagnostics)dlsym(library, "clang_getNumDiagnostics");
  at = (diagnostic_at)dlsym(library, "clang_getDiagnostic");
  severity = (severity_of)dlsym(library, "clang_getDiagnosticSeverity");
  if (!index || !read || !count || !at || !severity) {
    fprintf(stderr, "%s has no clang_createIndex\n", argv[1]);
    return NOT_LOADED;
  }
  /* Version 9 has this function, and the versions before do not. */
  if (!dlsym(library, "clang_Cursor_isAnonymousRecordDecl")) return TOO_OLD;

  unit = read(index(0, 1), argv[2], (const char *const *)argv + 3, argc - 3, NULL, 0, 0);
  if (!unit) return NOT_READ;
  for (unsigned number = 0; number < count(unit); number++)
    if (severity(at(unit, number)) >= error) return NOT_READ;
  return USABLE;
}
