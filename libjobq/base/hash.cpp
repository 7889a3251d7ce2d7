#include "libjobq/base/hash.hpp"

// Compiled in: a job's record is a few hundred bytes, where the library's general build takes twice as long.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>

#ifdef JOBQ_XXH_DISPATCH
// As xxh_x86dispatch.h declares it, which cannot be included beside code that is compiled in.
extern "C" XXH64_hash_t XXH3_64bits_withSeed_dispatch(const void* input, std::size_t length,
                                                      XXH64_hash_t seed);
#endif

namespace jobq {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
#ifdef JOBQ_XXH_DISPATCH
  // The library's own code for wide registers, chosen by the processor at run time: twice as fast, but for the choice.
  constexpr std::size_t kWide = 2048;
  if (bytes.size() >= kWide) return XXH3_64bits_withSeed_dispatch(bytes.data(), bytes.size(), seed);
#endif
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace jobq
