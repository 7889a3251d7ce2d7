// A heap that fails when it is told to: stands in for malloc and its kin, and lets the Nth call from now return NULL, once or
// for ever. Linked into a test it is told by failing_memory.hpp; preloaded into a program by the file that FAILING_MEMORY
// names, whose 16 bytes it maps: two 64-bit numbers of the machine, how many calls are left until one fails (0: none will;
// below 0: has failed for ever) and whether it is for ever. The test may write them at any time. Thread-safe.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* old, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void* memory);

struct orders {
  atomic_long left;
  atomic_long for_ever;
};
static struct orders own;
static struct orders* orders = &own;
static atomic_long failed;

void failing_memory_arm(long nth, int for_ever) {
  failed = 0;
  orders->for_ever = for_ever;
  orders->left = nth;
}
void failing_memory_disarm(void) { orders->left = 0; }
long failing_memory_failed(void) { return failed; }
long failing_memory_left(void) { return orders->left; }

__attribute__((constructor)) static void from_the_environment(void) {
  const char* path = getenv("FAILING_MEMORY");
  if (path == NULL) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  void* map = mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) abort();
  close(fd);
  orders = map;
}

static int fails(void) {
  long left = orders->left;
  while (left > 0) {
    if (!atomic_compare_exchange_weak(&orders->left, &left, left - 1 == 0 && orders->for_ever ? -1 : left - 1)) continue;
    if (left > 1) return 0;
    break;
  }
  if (left == 0) return 0;
  atomic_fetch_add(&failed, 1);
  errno = ENOMEM;
  return 1;
}

void* malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { return fails() ? NULL : __libc_realloc(old, size); }
void* memalign(size_t alignment, size_t size) { return fails() ? NULL : __libc_memalign(alignment, size); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** made, size_t alignment, size_t size) {
  void* room = memalign(alignment, size);
  if (room == NULL) return ENOMEM;
  *made = room;
  return 0;
}
void free(void* memory) { __libc_free(memory); }

// operator new and delete too: a program may be linked with a heap that brings its own. C++ names them so; what they do
// when there is no memory is what C++ says: ask the new_handler, as long as there is one.
typedef void (*new_handler)(void);
extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak, noreturn));

static void* made_or_thrown(size_t alignment, size_t size) {
  for (;;) {
    void* made = alignment > 0 ? memalign(alignment, size) : malloc(size == 0 ? 1 : size);
    if (made != NULL) return made;
    const new_handler handler = _ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;
    if (handler != NULL) {
      handler();
    } else if (_ZSt17__throw_bad_allocv != NULL) {
      _ZSt17__throw_bad_allocv();
    } else {
      abort();
    }
  }
}

#define NEW(name, parameters, made) \
  void* name parameters { return made; }
#define DELETE(name, parameters) \
  void name parameters { free(memory); }
// Plain, then (std::nothrow) and (std::align_val_t); n: new, a: an array's, d: delete.
NEW(_Znwm, (size_t size), made_or_thrown(0, size))
NEW(_Znam, (size_t size), made_or_thrown(0, size))
NEW(_ZnwmRKSt9nothrow_t, (size_t size, const void* tag), ((void)tag, malloc(size == 0 ? 1 : size)))
NEW(_ZnamRKSt9nothrow_t, (size_t size, const void* tag), ((void)tag, malloc(size == 0 ? 1 : size)))
NEW(_ZnwmSt11align_val_t, (size_t size, size_t alignment), made_or_thrown(alignment, size))
NEW(_ZnamSt11align_val_t, (size_t size, size_t alignment), made_or_thrown(alignment, size))
DELETE(_ZdlPv, (void* memory))
DELETE(_ZdaPv, (void* memory))
DELETE(_ZdlPvm, (void* memory, __attribute__((unused)) size_t size))
DELETE(_ZdaPvm, (void* memory, __attribute__((unused)) size_t size))
DELETE(_ZdlPvRKSt9nothrow_t, (void* memory, __attribute__((unused)) const void* tag))
DELETE(_ZdaPvRKSt9nothrow_t, (void* memory, __attribute__((unused)) const void* tag))
DELETE(_ZdlPvSt11align_val_t, (void* memory, __attribute__((unused)) size_t alignment))
DELETE(_ZdaPvSt11align_val_t, (void* memory, __attribute__((unused)) size_t alignment))
DELETE(_ZdlPvmSt11align_val_t, (void* memory, __attribute__((unused)) size_t size, __attribute__((unused)) size_t alignment))
DELETE(_ZdaPvmSt11align_val_t, (void* memory, __attribute__((unused)) size_t size, __attribute__((unused)) size_t alignment))
