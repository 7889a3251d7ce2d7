// SortedChunks against std::set: any order of inserts, erases and takes from both ends.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <set>

#include "libjobq/base/prng.hpp"
#include "libjobq/base/sorted_chunks.hpp"

namespace jobq {
namespace {

using Chunks = SortedChunks<std::uint64_t, std::uint64_t, std::identity>;

void compare(const Chunks& chunks, const std::set<std::uint64_t>& model) {
  REQUIRE(chunks.size() == model.size());
  REQUIRE(chunks.empty() == model.empty());
  auto at = chunks.begin();
  for (const std::uint64_t key : model) {
    REQUIRE(*at == key);
    ++at;
  }
  REQUIRE(at == chunks.end());
  if (model.empty()) return;
  CHECK(chunks.front() == *model.begin());
  CHECK(chunks.back() == *model.rbegin());
}

// One entry goes, from an end or from anywhere.
void take_one(Chunks* chunks, std::set<std::uint64_t>* model, Prng* prng) {
  const std::uint64_t how = prng->below(5);
  if (how < 2) {
    REQUIRE(chunks->pop_front() == *model->begin());
    model->erase(model->begin());
  } else if (how == 2) {
    REQUIRE(chunks->pop_back() == *model->rbegin());
    model->erase(std::prev(model->end()));
  } else {
    const std::uint64_t key = *model->begin() + prng->below(4'000);
    const auto in_model = model->lower_bound(key);
    const auto in_chunks = chunks->lower_bound(key);
    REQUIRE((in_model == model->end()) == (in_chunks == chunks->end()));
    if (in_model == model->end()) return;
    REQUIRE(*in_chunks == *in_model);
    REQUIRE(chunks->contains(*in_model));
    const auto next = model->upper_bound(*in_model);
    const auto after = how == 3 ? chunks->erase(in_chunks) : chunks->upper_bound(*in_model);
    REQUIRE((next == model->end()) == (after == chunks->end()));
    if (next != model->end()) REQUIRE(*after == *next);
    if (how == 4) REQUIRE(chunks->erase(*in_model));
    REQUIRE_FALSE(chunks->erase(*in_model));
    model->erase(in_model);
  }
}

TEST_CASE("random inserts and erases are those of a std::set") {
  struct Mix {
    bool ascending;
    std::uint64_t spread;
    std::size_t size_max;
  };
  for (const Mix& mix :
       {Mix{false, 5'000, 3'000}, Mix{true, 1, 3'000}, Mix{true, 3'000, 3'000}, Mix{true, 3'000, 50}}) {
    Chunks chunks;
    std::set<std::uint64_t> model;
    Prng prng(mix.spread + mix.size_max);
    for (std::uint64_t i = 0; i < 60'000; ++i) {
      const std::uint64_t key = (mix.ascending ? i : 0) + prng.below(mix.spread);
      REQUIRE(chunks.insert(key) == model.insert(key).second);
      while (model.size() > mix.size_max || (!model.empty() && prng.below(3) == 0))
        take_one(&chunks, &model, &prng);
      if (i % 1'000 == 0) compare(chunks, model);
    }
    while (!model.empty()) take_one(&chunks, &model, &prng);
    compare(chunks, model);
  }
}

}  // namespace
}  // namespace jobq
