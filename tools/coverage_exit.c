// Linked into the programs of tools/coverage.sh with -Wl,--wrap=_exit: a process that ends by _exit leaves its profile too.
int __llvm_profile_write_file(void);
_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);

_Noreturn void __wrap__exit(int code) {
  __llvm_profile_write_file();
  __real__exit(code);
}
