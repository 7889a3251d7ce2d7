#include "cli/spelling.hpp"

#include <doctest/doctest.h>

using jobq::cli::did_you_mean;
using jobq::cli::edit_distance;
using jobq::cli::no_such_queue_text;

TEST_CASE("the distance of two names is what it takes to make one of the other") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("recipts", "receipts") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("a name that is near enough may have been meant") {
  const std::vector<std::string> names{"stats", "top", "enqueue"};
  CHECK(did_you_mean("stat", names) == "; did you mean 'stats'?");
  CHECK(did_you_mean("enqeue", names) == "; did you mean 'enqueue'?");
  CHECK(did_you_mean("frob", names).empty());
  CHECK(did_you_mean("x", names).empty());
  CHECK(did_you_mean("", {}).empty());
}

TEST_CASE("a wrong queue name gets the nearest ones first") {
  CHECK(no_such_queue_text("recipts", {"emails", "receipts"}) ==
        "no queue is called 'recipts'; there are: receipts, emails. `jobq queue ls` lists them");
  CHECK(no_such_queue_text("x\n", {}) ==
        "no queue is called 'x\\n'; there are none yet: the first `jobq enqueue QUEUE` makes one");
  CHECK(no_such_queue_text("q9", {"q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9x", "q10"})
            .find("and 2 more") != std::string::npos);
}
