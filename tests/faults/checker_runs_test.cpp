// The invariants that need more than what clients see: the broker's own lines, and those of the run. For each a history
// that must be rejected, and one next to it that must pass.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/faults/checker.hpp"
#include "tests/faults/written_history.hpp"

namespace jobq::faults {
namespace {

const std::string kAsked = "0 p enqueue invoke seq=1 queue=q hash=a\n";
const std::string kMade = kAsked + "5 broker made ok job=j1 queue=q prio=5 state=ready\n";
const std::string kConfirmed = kMade + "10 p enqueue ok seq=1 job=j1\n";

TEST_CASE(
    "I1: where the broker says what it did, every job that is gone has left, and somebody had asked for "
    "that") {
  CHECK(violated(kConfirmed, "j1 ready hash=a") == "");
  CHECK(violated(kMade, "") == "I1");  // nobody was told of it, and yet it must not vanish
  const auto left = [](const std::string& asked, const std::string& state) {
    return violated(kConfirmed + asked + "50 broker left ok job=j1 state=" + state + "\n", "");
  };
  const std::string purge = "20 c purge invoke seq=1 queue=q\n", cancel = "20 c cancel invoke seq=1 job=j1\n";
  CHECK(left(purge, "purged") == "");
  CHECK(left(cancel, "cancelled") == "");
  CHECK(left(purge, "cancelled") == "I1");
  CHECK(left(purge, "expired") == "I1");
  CHECK(left(purge, "acked") == "I1");
  CHECK(violated(kConfirmed + purge + "50 broker left ok job=j1 state=purged\n", "j1 ready hash=a") == "I1");
  // Its enqueue was never answered; the broker's line says where it was.
  CHECK(violated(kMade + purge + "50 broker left ok job=j1 state=purged\n", "") == "");
  CHECK(violated(kMade + "20 c purge invoke seq=1 queue=r\n50 broker left ok job=j1 state=purged\n", "") ==
        "I1");
  const std::string unanswered = "0 p enqueue invoke seq=1 queue=q hash=a expires_ms=30\n";
  const std::string expired =
      "5 broker made ok job=j1 queue=q prio=5 state=ready\n50 broker left ok job=j1 state=expired\n";
  CHECK(violated(unanswered + expired, "") == "");
  CHECK(violated(kAsked + expired, "") == "I1");
}

TEST_CASE("I5: the broker does not grant what somebody holds, nor a token twice") {
  const std::string first = "20 broker granted ok job=j1 token=1\n", stored = "j1 leased hash=a";
  const std::string back = "30 broker returned ok job=j1 state=ready\n";
  CHECK(violated(kConfirmed + first + back + "40 broker granted ok job=j1 token=2\n", stored) == "");
  CHECK(violated(kConfirmed + first + "40 broker granted ok job=j1 token=2\n", stored) == "I5");
  CHECK(violated(kConfirmed + first + back + "40 broker granted ok job=j1 token=1\n", stored) == "I5");
  const std::string redriven =
      "30 broker died ok job=j1 state=attempts\n40 broker ready ok job=j1 state=ready\n";
  CHECK(violated(kConfirmed + first + redriven + "50 broker granted ok job=j1 token=2\n", stored) == "");
}

TEST_CASE("I9: the broker grants by priority, then by enqueue order, among what is ready") {
  const auto granted = [](int prio1, int prio2, const std::string& lines, const std::string& kinds = "") {
    std::string text;
    for (int n = 1; n <= 2; ++n)
      text += fmt::format(
          "0 p enqueue invoke seq={0} queue=q hash=h{0}\n1 broker made ok job=j{0} queue=q prio={1} "
          "state=ready{2}\n"
          "2 p enqueue ok seq={0} job=j{0}\n",
          n, n == 1 ? prio1 : prio2, kinds.empty() ? "" : fmt::format(" kind={}{}", kinds, n));
    return violated(text + lines, "j1 ready hash=h1\nj2 ready hash=h2");
  };
  const std::string first = "9 broker granted ok job=j1 token=1\n",
                    second = "9 broker granted ok job=j2 token=1\n";
  CHECK(granted(5, 5, first + second) == "");
  CHECK(granted(5, 5, second) == "I9");
  CHECK(granted(5, 6, second) == "");
  CHECK(granted(5, 6, first) == "I9");
  CHECK(granted(5, 5, second, "t") == "");  // of another type: perhaps nobody takes it
  // Scheduled, or handed back a moment ago: it does not wait.
  const std::string back = first + "10 broker returned ok job=j1 state=",
                    again = "500 broker granted ok job=j2 token=1\n";
  CHECK(granted(5, 5, back + "scheduled\n" + again) == "");
  CHECK(granted(5, 5, back + "ready\n" + again) == "");
  const std::string late = "1500 broker granted ok job=j2 token=1\n",
                    turn = " broker ready ok job=j7 state=ready\n";
  CHECK(granted(5, 5, back + "ready\n" + late) == "");  // decided in this turn, which began nobody knows when
  CHECK(granted(5, 5, back + "ready\n900" + turn + late) == "");
  CHECK(granted(5, 5, back + "ready\n1400" + turn + late) == "I9");
  CHECK(granted(5, 5, back + "scheduled\n20 broker ready ok job=j1 state=ready\n" + again) == "I9");
}

TEST_CASE("I4: a delivery that was on its way for longer than its lease may come after the ack of the next") {
  const auto late = [](int sent) {
    return violated(kConfirmed + "20 broker granted ok job=j1 token=1\n" +
                        fmt::format("{} broker said ok job=j1 token=1 state=delivered\n", sent) +
                        "1020 broker returned ok job=j1 state=ready\n1020 broker granted ok job=j1 token=2\n"
                        "1020 broker said ok job=j1 token=2 state=delivered\n"
                        "1021 v deliver ok job=j1 token=2 attempt=1 queue=q hash=a lease_ms=1000\n"
                        "1022 v ack invoke seq=1 job=j1 token=2\n1023 broker left ok job=j1 state=acked\n"
                        "1024 v ack ok seq=1 job=j1\n"
                        "1500 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a lease_ms=1000\n",
                    "");
  };
  CHECK(late(20) == "");
  CHECK(late(900) == "I4 I5");
}

TEST_CASE("I15: nothing is said before what it rests on is durable") {
  const std::string created = "4 broker said ok job=j1 state=created\n", stored = "j1 ready hash=a";
  CHECK(violated(kMade + "6 broker said ok job=j1 state=created\n10 p enqueue ok seq=1 job=j1\n", stored) ==
        "");
  CHECK(violated(kAsked + created + "5 broker made ok job=j1 queue=q prio=5 state=ready\n", stored) == "I15");
  const std::string granted = "20 broker granted ok job=j1 token=1\n";
  const std::string delivered = " broker said ok job=j1 token=1 state=delivered\n";
  CHECK(violated(kConfirmed + granted + "21" + delivered, stored) == "");
  CHECK(violated(kConfirmed + "19" + delivered + granted, stored) == "I15");
  const std::string acked = kConfirmed + granted + "25 w ack invoke seq=1 job=j1 token=1\n";
  const std::string left = "30 broker left ok job=j1 state=acked\n",
                    settled = " broker said ok job=j1 token=1 state=settled\n";
  CHECK(violated(acked + left + "31" + settled, "") == "");
  CHECK(violated(acked + "29" + settled + left, "") == "I15");
}

TEST_CASE("I18: once healed, everything is over in the time that was set") {
  const std::string healed = "100 run healed ok within_ms=500\n";
  CHECK(violated(healed + "300 run drained ok\n", "") == "");
  CHECK(violated(healed, "") == "I18");
  CHECK(violated(healed + "300 run drained fail err=left\n", "") == "I18");
  CHECK(violated(healed + "700 run drained ok\n", "") == "I18");
}

TEST_CASE("I19: the broker ends by itself only with a documented code, and for a reason") {
  const std::string start = "0 broker start ok\n";
  CHECK(violated(start + "50 broker exit ok code=0\n", "") == "");
  CHECK(violated(start + "50 broker exit ok code=1\n", "") == "I19");
  CHECK(violated(start + "50 broker exit ok code=70\n", "") == "I19");
  CHECK(violated(start + "50 broker exit ok signal=11\n", "") == "I19");
  CHECK(violated(start + "50 broker exit ok code=88\n", "") == "I19");
  CHECK(violated(start + "40 run fault info err=eio\n50 broker exit ok code=88\n", "") == "");
  CHECK(violated("0 run fault info err=eio\n" + start + "50 broker exit ok code=88\n", "") == "I19");
  CHECK(violated(start + "50 broker crash info\n", "") == "");  // killed, by us
}

TEST_CASE("I20: a restart or a broken connection is no error to an application that waits longer") {
  const auto ended = [](const std::string& hindrance, const std::string& answer, int timeout = 30000) {
    return violated(
        fmt::format("0 broker start ok\n1000 p enqueue invoke seq=1 queue=q hash=a timeout_ms={}\n",
                    timeout) +
            hindrance + fmt::format("{} p enqueue {}\n", 1000 + timeout, answer),
        "");
  };
  const std::string restart = "1500 broker crash info\n4000 broker start ok\n";
  CHECK(ended(restart, "info seq=1 err=timed_out") == "I20");
  CHECK(ended(restart, "info seq=1 err=timed_out", 5000) == "");
  CHECK(ended("1500 broker crash info\n", "info seq=1 err=timed_out") == "");  // it never came back
  const std::string died_starting =
      "1100 broker crash info\n20000 broker crash info\n30000 broker start ok\n";
  CHECK(ended(died_starting, "info seq=1 err=timed_out") == "");
  CHECK(ended("", "fail seq=1 err=unreachable", 5000) == "I20");
  CHECK(ended("1500 p lost info\n", "fail seq=1 err=unreachable", 5000) == "");
  CHECK(ended("1500 p2 lost info\n", "fail seq=1 err=unreachable", 5000) == "I20");
  CHECK(ended("1200 p frozen info within_ms=28000\n", "info seq=1 err=timed_out") == "");
  CHECK(ended("", "fail seq=1 err=queue_full") == "");
  CHECK(ended(restart, "info seq=1 err=unknown_producer") == "I20");
}

TEST_CASE("I21: a date waits for the wall clock, a delay does not") {
  const std::string clock = "0 run clock ok wall=1000000\n";
  const auto dated = [&](const std::string& jump, int t) {
    return violated(
        clock + "100 p enqueue invoke seq=1 queue=q hash=a run_at=1005000\n110 p enqueue ok seq=1 job=j1\n" +
            jump + fmt::format("{} w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n", t),
        "j1 leased hash=a");
  };
  CHECK(dated("", 5001) == "");
  CHECK(dated("", 4000) == "I21");
  CHECK(dated("2000 run clock ok wall=1006000\n", 2001) == "");
  CHECK(dated("2000 run clock ok wall=1000000\n", 5001) == "I21");
  CHECK(dated("2000 run clock ok wall=1006000\n2100 run clock ok wall=1000000\n", 2500) == "");
  const auto delayed = [&](const std::string& lines, int ready) {
    return violated(
        clock +
            "100 p enqueue invoke seq=1 queue=q hash=a delay_ms=500\n"
            "105 broker made ok job=j1 queue=q prio=5 state=scheduled\n110 p enqueue ok seq=1 job=j1\n" +
            lines + fmt::format("{} broker ready ok job=j1 state=ready\n", ready),
        "j1 ready hash=a");
  };
  CHECK(delayed("", 700) == "");
  CHECK(delayed("200 run clock ok wall=1\n", 90000) == "I21");
  // Set while the broker was down: it cannot tell that from time that has passed.
  CHECK(delayed("200 run clock ok wall=1\n300 broker start ok\n", 90000) == "");
  CHECK(delayed("200 broker crash info\n89000 broker start ok\n", 90000) == "");
}

// Ten jobs with delays of 500 ms, and `apart_ms` more from each to the next, but for the last one; they become ready one
// after the other.
TEST_CASE("I21: a delay may wait behind others that are over, but is not overtaken and not forgotten") {
  const auto late = [](int apart_ms, int every_ms, const std::string& more = "") {
    std::string lines = "0 run clock ok wall=1000000\n", ready, states;
    for (int i = 0; i < 10; ++i) {
      const int delay = i == 9 ? 500 : 500 + apart_ms * i;
      lines += fmt::format(
          "{0} p enqueue invoke seq={1} queue=q hash=a delay_ms={2}\n{0} broker made ok job=j{1} queue=q "
          "prio=5 "
          "state=scheduled\n{0} p enqueue ok seq={1} job=j{1}\n",
          100 + i, i + 1, delay);
      ready += fmt::format("{} broker ready ok job=j{} state=ready\n", 600 + every_ms * (i + 1), i + 1);
      states += fmt::format("j{} ready hash=a\n", i + 1);
    }
    return violated(lines + more + ready, states);
  };
  CHECK(late(0, 1'000) == "");  // the last one after ten seconds, one a second before it
  CHECK(late(0, 1'000, "109 broker said ok job=j10 state=created\n") == "");
  CHECK(late(1'000, 1'000, "109 broker said ok job=j10 state=created\n") == "I21");
  CHECK(late(1'000, 1'000) == "I21");  // those were due after it, all but two
  CHECK(late(0, 2'500) == "I21");      // too seldom to be a queue
  CHECK(late(0, 2'500, "700 broker crash info\n23000 broker start ok\n") == "");
}

TEST_CASE(
    "I8: a clock that is set while the broker is down excuses a delay, one that is set while it commits does "
    "not") {
  const auto delivered = [](const std::string& lines) {
    return violated(
        "0 run clock ok wall=1000000\n100 p enqueue invoke seq=1 queue=q hash=a delay_ms=500\n"
        "105 broker made ok job=j1 queue=q prio=5 state=scheduled\n110 p enqueue ok seq=1 job=j1\n" +
            lines + "400 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n",
        "j1 leased hash=a");
  };
  const std::string set = "200 run clock ok wall=2000000\n", start = "300 broker start ok\n";
  CHECK(delivered("") == "I8");
  CHECK(delivered(set) == "I8");
  CHECK(delivered(set + start) == "");
  CHECK(delivered(set + "250 broker ready ok job=j7 state=ready\n" + start) == "I8");
  // ... and one whose turn began after that; a turn of before has stored the time of before.
  CHECK(delivered(set + "250 broker ready ok job=j7 state=ready wall=2000040\n" + start) == "I8");
  CHECK(delivered(set + "250 broker ready ok job=j7 state=ready wall=1000190\n" + start) == "");
}

TEST_CASE("I1: a clock that is set while the broker is down may end a job before its expiry") {
  const auto expired = [](const std::string& lines) {
    return violated(
        "0 run clock ok wall=1000000\n100 p enqueue invoke seq=1 queue=q hash=a expires_ms=5000\n"
        "105 broker made ok job=j1 queue=q prio=5 state=ready\n110 p enqueue ok seq=1 job=j1\n" +
            lines + "400 broker left ok job=j1 state=expired\n",
        "");
  };
  const std::string set = "200 run clock ok wall=2000000\n";
  CHECK(expired("") == "I1");
  CHECK(expired(set) == "I1");
  CHECK(expired(set + "300 broker start ok\n") == "");
}

TEST_CASE("I22: the same seed gives the same run") {
  CHECK(violated("1 run trace ok seq=7 hash=aa\n2 run trace ok seq=7 hash=aa\n3 run trace ok seq=8 hash=bb\n",
                 "") == "");
  CHECK(violated("1 run trace ok seq=7 hash=aa\n2 run trace ok seq=7 hash=bb\n", "") == "I22");
}

}  // namespace
}  // namespace jobq::faults
