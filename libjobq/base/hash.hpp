// The one hash of the project: XXH3, 64 bits (https://github.com/Cyan4973/xxHash). For checksums,
// fingerprints and equality hints; not for secrets. Stored: the algorithm and its seed are part of the
// storage format.
#pragma once

#include <cstdint>
#include <string_view>

namespace jobq {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);

}  // namespace jobq
