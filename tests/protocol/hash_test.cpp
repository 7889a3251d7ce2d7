// The hash is part of the storage format: its values must not depend on the length at which another build of it takes over.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "libjobq/base/hash.hpp"

namespace jobq {
namespace {

std::string counted(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 131 >> 3);
  return text;
}

TEST_CASE("the hash is XXH3 with 64 bits, whatever the length and the seed") {
  struct Known {
    std::size_t bytes;
    std::uint64_t seed, hash;
  };
  // Of the library's general build (xxhash 0.8.1).
  const Known known[] = {
      {0, 0, 0x2D06800538D394C2ULL},     {0, 7, 0x913AE0873E9B7EB8ULL},    {1, 0, 0xC44BDFF4074EECDBULL},
      {1, 7, 0x2C45AA60FF5DC0E5ULL},     {8, 0, 0x8BB5228BBB9EF995ULL},    {8, 7, 0xB0AB1FF83E79A1BAULL},
      {16, 0, 0x26CF74202FE4D5A1ULL},    {16, 7, 0x874C555061349D71ULL},   {17, 0, 0x66EB5BF14FB05A41ULL},
      {17, 7, 0x90E051C808E9DFE1ULL},    {128, 0, 0x25514A47E02C033ULL},   {128, 7, 0xDCEDEF4D8966C392ULL},
      {129, 0, 0xB9E57505817AADEEULL},   {129, 7, 0x6AD9C99BB1F7D143ULL},  {240, 0, 0x44A95E35E12DD1CFULL},
      {240, 7, 0xA475AAB17239EB53ULL},   {241, 0, 0x2DE42AED8D7C80D8ULL},  {241, 7, 0xB3D4D48F0913D5E9ULL},
      {300, 0, 0xF04E709D23B7EB2ULL},    {300, 7, 0x245CF20901539ED2ULL},  {2047, 0, 0xD2DF39725742397DULL},
      {2047, 7, 0x3DA0468DFDC986F6ULL},  {2048, 0, 0xE812DC15F17A72B4ULL}, {2048, 7, 0x3DEA055950BF0581ULL},
      {2049, 0, 0x135DE6E2CBBA3AFULL},   {2049, 7, 0x450B0C60E38F588ULL},  {65536, 0, 0xB41195C3B6379685ULL},
      {65536, 7, 0x54412BACAB855C04ULL},
  };
  for (const Known& one : known) {
    CAPTURE(one.bytes);
    CAPTURE(one.seed);
    CHECK(hash64(counted(one.bytes), one.seed) == one.hash);
  }
}

}  // namespace
}  // namespace jobq
