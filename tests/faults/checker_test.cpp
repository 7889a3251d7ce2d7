// For each invariant a small history that must be rejected, and one next to it that must pass. Those that need more than
// what clients see (I15, I18 to I22, and the inside of I1, I5, I8 and I9) are in checker_runs_test.cpp; `tidy` counts all 22.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <sstream>

#include "tests/faults/checker.hpp"
#include "tests/faults/written_history.hpp"

namespace jobq::faults {
namespace {

// A job j1 with body a, confirmed at 10.
const std::string kMade = "0 p enqueue invoke seq=1 queue=q hash=a prio=5\n10 p enqueue ok seq=1 job=j1\n";
// Delivered to w at 20 with a lease of a second.
const std::string kHeld =
    kMade + "20 w deliver ok job=j1 token=1 attempt=1 queue=q prio=5 hash=a lease_ms=1000\n";

}  // namespace

TEST_CASE("a whole life violates nothing") {
  CHECK(violated(kHeld + "30 w ack invoke seq=1 job=j1 token=1\n40 w ack ok seq=1 job=j1 token=1\n", "") ==
        "");
  CHECK(violated(kHeld, "j1 leased hash=a priority=5") == "");
  CHECK(violated("", "") == "");
}

TEST_CASE("I1: a confirmed job is in the store, or there is a reason why not") {
  CHECK(violated(kMade, "j1 ready hash=a") == "");
  CHECK(violated(kMade, "") == "I1");
  CHECK(violated(kHeld, "") == "I1");
  CHECK(violated(kHeld + "30 w ack invoke seq=1 job=j1 token=1\n", "") == "");  // the answer was never read
  CHECK(violated(kHeld + "30 w ack invoke seq=1 job=j1 token=1\n35 w ack fail seq=1 job=j1\n", "") == "I1");
  CHECK(violated(kMade + "30 c cancel invoke seq=1 job=j1\n", "") == "");
  CHECK(violated(kMade + "30 c purge invoke seq=1 queue=q\n", "") == "");
  CHECK(violated(kMade + "30 c purge invoke seq=1 queue=other\n", "") == "I1");
  const std::string expiring =
      "0 p enqueue invoke seq=1 queue=q hash=a expires_ms=50\n10 p enqueue ok seq=1 job=j1\n";
  CHECK(violated(expiring + "20 x start ok\n", "") == "I1");
  CHECK(violated(expiring + "90 x start ok\n", "") == "");
  CHECK(violated("0 p enqueue invoke seq=1 queue=q hash=a\n", "") == "");  // nobody said that it was stored
}

TEST_CASE("I1: where in a producer's sequence the loss is") {
  std::string text;
  for (int n = 1; n <= 5; ++n)
    text += fmt::format("{} p enqueue invoke seq={} queue=q hash=h{}\n{} p enqueue ok seq={} job=j{}\n", n, n,
                        n, n, n, n);
  const auto places = [&](const std::string& dump_text) {
    std::istringstream history_in{history_of(text)}, dump_in{dump_of(dump_text)};
    const auto history = read_history(&history_in);
    const auto dump = read_dump(&dump_in);
    REQUIRE((history.ok() && dump.ok()));
    const Verdict verdict = check_history(*history, *dump);
    CHECK(verdict.confirmed == 5);
    return fmt::format("{} {} {}", verdict.lost_prefix, verdict.lost_middle, verdict.lost_postfix);
  };
  CHECK(places("j1 ready\nj2 ready\nj3 ready\nj4 ready\nj5 ready") == "0 0 0");
  CHECK(places("j2 ready\nj4 ready") == "1 1 1");
  CHECK(places("j1 ready\nj2 ready") == "0 0 3");
  CHECK(places("") == "0 0 5");
}

TEST_CASE("I2: what is there was asked for") {
  CHECK(violated(kMade, "j1 ready hash=a\nj2 ready hash=zz") == "I2");
  CHECK(violated("5 w deliver ok job=j9 token=1 attempt=1 queue=q hash=zz\n", "") == "I2");
  const std::string unknown = "0 p enqueue invoke seq=1 queue=q hash=a\n";
  CHECK(violated(unknown, "j1 ready hash=a") == "");
  CHECK(violated(unknown + "9 p enqueue info seq=1\n", "j1 ready hash=a") == "");
  CHECK(violated(unknown + "9 p enqueue fail seq=1 err=queue_full\n", "j1 ready hash=a") == "I2");
}

TEST_CASE("I3: bodies, queues and priorities are what was sent") {
  CHECK(violated(kHeld, "j1 leased hash=a priority=5") == "");
  CHECK(violated(kMade, "j1 ready hash=b") == "I3");
  CHECK(violated(kMade, "j1 ready hash=a priority=4") == "I3");
  CHECK(violated(kMade + "20 w deliver ok job=j1 token=1 attempt=1 queue=q hash=b\n", "j1 leased hash=a") ==
        "I3");
  CHECK(violated(kMade + "20 w deliver ok job=j1 token=1 attempt=1 queue=r hash=a\n", "j1 leased hash=a") ==
        "I3");
}

TEST_CASE("I4: an ack is final") {
  const std::string acked = kHeld + "30 w ack invoke seq=1 job=j1 token=1\n40 w ack ok seq=1 job=j1\n";
  CHECK(violated(acked, "j1 ready hash=a") == "I4");
  CHECK(violated(acked + "900 v deliver ok job=j1 token=2 attempt=1 queue=q hash=a\n", "") == "I4 I6");
  const std::string old =
      kHeld.substr(0, kHeld.find("20 w deliver")) +
      "20 v deliver ok job=j1 token=2 attempt=1 queue=q hash=a\n30 v ack invoke seq=1 job=j1 token=2\n"
      "40 v ack ok seq=1 job=j1\n9000 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n";
  CHECK(violated(old, "") == "I4 I5");
  CHECK(violated(old + "10 w frozen info within_ms=8900\n", "") == "");
  const std::string refused =
      kHeld + "2030 w ack invoke seq=1 job=j1 token=1\n2040 w ack fail seq=1 job=j1\n";
  CHECK(violated(refused + "2050 v deliver ok job=j1 token=2 attempt=1 queue=q hash=a\n",
                 "j1 leased hash=a") == "");
}

TEST_CASE("I5: one holder at a time") {
  const std::string second = " v deliver ok job=j1 token=2 attempt=1 queue=q hash=a lease_ms=1000\n";
  const std::string stored = "j1 leased hash=a";
  CHECK(violated(kHeld + "500" + second, stored) == "I5");
  CHECK(violated(kHeld + "1020" + second, stored) == "");
  CHECK(violated(kHeld + "400 w release invoke seq=1 job=j1 token=1\n500" + second, stored) == "");
  CHECK(violated(kHeld + "400 w release invoke seq=1 job=j1 token=1\n450 w release fail seq=1\n500" + second,
                 stored) == "I5");
  CHECK(violated(kHeld + "400 w revoked ok job=j1 token=1\n500" + second, stored) == "");
  CHECK(violated(kHeld + "400 w crash info\n500" + second, stored) == "");
  CHECK(violated(kHeld + "400 x crash info\n500" + second, stored) == "I5");
  const std::string extended =
      kHeld + "900 w extend invoke seq=1 job=j1 token=1\n910 w extend ok seq=1 lease_ms=1000\n";
  CHECK(violated(extended + "1500" + second, stored) == "I5");
  CHECK(violated(extended + "1900" + second, stored) == "");
  CHECK(violated(kHeld + "1500 v deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n", stored) == "I5");
}

TEST_CASE("I6: an old token is refused") {
  const std::string taken =
      kHeld + "1100 v deliver ok job=j1 token=2 attempt=1 queue=q hash=a lease_ms=1000\n";
  const std::string late = "1200 w nack invoke seq=1 job=j1 token=1\n";
  CHECK(violated(taken + late + "1210 w nack fail seq=1 err=stale_lease\n", "j1 leased hash=a") == "");
  CHECK(violated(taken + late + "1210 w nack ok seq=1\n", "j1 scheduled hash=a") == "I6");
  CHECK(violated(taken + "1200 w extend invoke seq=1 job=j1 token=1\n1210 w extend ok seq=1 lease_ms=9\n",
                 "j1 leased hash=a") == "I6");
  // Asked in time; the answer lay unread while w stood still.
  CHECK(violated(taken + "20 w extend invoke seq=1 job=j1 token=1\n1210 w extend ok seq=1 lease_ms=1000\n",
                 "j1 leased hash=a") == "");
  CHECK(violated(taken + "1200 w ack invoke seq=1 job=j1 token=1\n1210 w ack ok seq=1\n", "") == "I4 I6");
}

TEST_CASE("I7: attempts are counted without gaps and not above the maximum") {
  const std::string failed = kHeld + "30 w nack invoke seq=1 job=j1 token=1\n40 w nack ok seq=1\n";
  const auto next = [&](const std::string& history, int attempt) {
    return violated(
        history +
            fmt::format("50 w deliver ok job=j1 token=2 attempt={} queue=q hash=a max_attempts=3\n", attempt),
        "j1 leased hash=a");
  };
  CHECK(next(failed, 2) == "");
  CHECK(next(failed, 1) == "I7");
  CHECK(next(failed, 3) == "I7");
  const std::string released = kHeld + "30 w release invoke seq=1 job=j1 token=1\n40 w release ok seq=1\n";
  CHECK(next(released, 1) == "");
  CHECK(next(released, 2) == "I7");
  const std::string unknown = kHeld + "30 w nack invoke seq=1 job=j1 token=1\n";
  CHECK(next(unknown, 1) == "");
  CHECK(next(unknown, 2) == "");
  CHECK(violated(failed + "50 w deliver ok job=j1 token=2 attempt=2 queue=q hash=a max_attempts=1\n",
                 "j1 leased hash=a") == "I7");
  const std::string last = kMade +
                           "20 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a max_attempts=1\n"
                           "30 w nack invoke seq=1 job=j1 token=1\n";
  CHECK(violated(last + "40 w nack ok seq=1\n", "j1 dead hash=a reason=attempts attempts=1") == "");
  CHECK(violated(last + "40 w nack ok seq=1\n", "j1 scheduled hash=a") == "I7");
  CHECK(violated(last + "40 w nack fail seq=1 err=stale_lease\n", "j1 scheduled hash=a") == "");
  // Token 1 was on its way to somebody who never heard of it, and its time ran out.
  const std::string unheard = kMade + "50 w deliver ok job=j1 token=2 queue=q hash=a max_attempts=3 attempt=";
  CHECK(violated(unheard + "2\n", "j1 leased hash=a") == "I7");
  CHECK(violated(unheard + "2 may_time_out=true\n", "j1 leased hash=a") == "");
  CHECK(violated(unheard + "3 may_time_out=true\n", "j1 leased hash=a") == "I7");
}

TEST_CASE("I8: not before a delay or a backoff is over") {
  const auto at = [&](int t) {
    return violated(
        fmt::format("0 p enqueue invoke seq=1 queue=q hash=a delay_ms=500\n10 p enqueue ok seq=1 job=j1\n"
                    "{} w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n",
                    t),
        "j1 leased hash=a");
  };
  CHECK(at(501) == "");
  CHECK(at(400) == "I8");
  const auto again_at = [&](int t) {
    return violated(
        kHeld + fmt::format("30 w snooze invoke seq=1 job=j1 token=1 delay_ms=500\n40 w snooze ok seq=1\n"
                            "{} w deliver ok job=j1 token=2 attempt=1 queue=q hash=a\n",
                            t),
        "j1 leased hash=a");
  };
  CHECK(again_at(530) == "");
  CHECK(again_at(300) == "I8");
}

TEST_CASE("I9: priority, then enqueue order, where one worker with one slot can see it") {
  const auto order = [](int prio1, int prio2, const std::string& first, const std::string& more) {
    std::string text;
    text +=
        fmt::format("0 p enqueue invoke seq=1 queue=q hash=a prio={}\n1 p enqueue ok seq=1 job=j1\n", prio1);
    text +=
        fmt::format("2 p enqueue invoke seq=2 queue=q hash=b prio={}\n3 p enqueue ok seq=2 job=j2\n", prio2);
    text += "0 p enqueue invoke seq=3 queue=q hash=c prio=9\n1 p enqueue ok seq=3 job=j3\n";
    text += "4 w deliver ok job=j3 token=1 attempt=1 queue=q prio=9 hash=c slots=1\n";
    text += "5 w ack invoke seq=1 job=j3 token=1\n6 w ack ok seq=1\n";
    const int prio = first == "j1" ? prio1 : prio2;
    text += fmt::format("7 w deliver ok job={} token=1 attempt=1 queue=q prio={} hash={} slots=1\n", first,
                        prio, first == "j1" ? "a" : "b");
    return violated(text + more, "j1 ready hash=a\nj2 ready hash=b");
  };
  CHECK(order(5, 5, "j1", "") == "");
  CHECK(order(5, 5, "j2", "") == "I9");
  CHECK(order(5, 6, "j2", "") == "");
  CHECK(order(5, 6, "j1", "") == "I9");
  CHECK(order(5, 5, "j2", "8 broker crash info\n") == "");  // a grant may have got lost
}

TEST_CASE("I10: the dead keep their reasons, and a drain leaves nothing else") {
  const std::string failed = kHeld + "30 w nack invoke seq=1 job=j1 token=1\n40 w nack ok seq=1\n";
  CHECK(violated(failed, "j1 dead hash=a reason=attempts attempts=1") == "");
  CHECK(violated(failed, "j1 dead hash=a reason=attempts attempts=0") == "I10");
  CHECK(violated(failed, "j1 dead hash=a attempts=1") == "I10");
  CHECK(violated(kMade, "j1 ready hash=a", {.drained = true}) == "I10");
  CHECK(violated(failed, "j1 dead hash=a reason=attempts attempts=1", {.drained = true}) == "");
}

TEST_CASE("I11: one live job per unique key") {
  const std::string first = "0 p enqueue invoke seq=1 queue=q hash=a key=k\n10 p enqueue ok seq=1 job=j1\n";
  const std::string second = "20 p enqueue invoke seq=2 queue=q hash=b key=k\n";
  CHECK(violated(first + second + "30 p enqueue ok seq=2 job=j1 duplicate=true\n", "j1 ready hash=a") == "");
  CHECK(violated(first + second + "30 p enqueue ok seq=2 job=j2\n", "j1 ready hash=a\nj2 ready hash=b") ==
        "I11");
  const std::string left =
      "12 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n15 w ack invoke seq=1 job=j1 token=1\n";
  CHECK(violated(first + left + second + "30 p enqueue ok seq=2 job=j2\n", "j2 ready hash=b") == "");
  CHECK(violated(first + "11 p enqueue invoke seq=3 queue=q hash=c\n",
                 "j1 ready hash=a unique_key=k\nj3 ready hash=c unique_key=k") == "I11");
  const std::string other =
      "0 p enqueue invoke seq=7 queue=q hash=z key=other\n1 p enqueue ok seq=7 job=j7\n";
  CHECK(violated(first + other + second + "30 p enqueue ok seq=2 job=j7 duplicate=true\n",
                 "j1 ready hash=a\nj7 ready hash=z") == "I11");
}

TEST_CASE("I12: the last counts are the dump's") {
  const std::string said = "50 c stats ok queue=q ready=1 scheduled=0 leased=0 dead=0 final_count=true\n";
  CHECK(violated(kMade + said, "j1 ready hash=a") == "");
  CHECK(violated(kMade + said, "j1 scheduled hash=a") == "I12");
  CHECK(violated(kMade + "50 c stats ok queue=q ready=7\n", "j1 ready hash=a") == "");  // not the last word
}

TEST_CASE("I13: one enqueue makes one job") {
  CHECK(violated(kMade, "j1 ready hash=a\nj2 ready hash=a") == "I13 I2");
  const std::string resent = "0 p enqueue invoke seq=1 queue=q hash=a\n";
  CHECK(violated(resent, "j1 ready hash=a") == "");
  CHECK(violated(resent, "j1 ready hash=a\nj2 ready hash=a") == "I13");
}

TEST_CASE("I14: a group is made in whole or not at all") {
  const std::string asked =
      "0 p enqueue invoke seq=1 queue=q hash=a group=g\n0 p enqueue invoke seq=2 queue=q hash=b group=g\n";
  CHECK(violated(asked, "j1 ready hash=a\nj2 ready hash=b") == "");
  CHECK(violated(asked, "") == "");
  CHECK(violated(asked, "j1 ready hash=a") == "I14");
  CHECK(violated(asked + "9 p enqueue ok seq=1 job=j1\n9 p enqueue fail seq=2\n", "j1 ready hash=a") ==
        "I14");
  CHECK(violated(asked + "9 p enqueue fail seq=1\n9 p enqueue fail seq=2\n", "") == "");
  // Cancelled or purged before anybody saw its body.
  const std::string cancelled = "20 c cancel invoke seq=1 job=j2\n21 c cancel ok seq=1 job=j2 state=gone\n";
  CHECK(violated(asked + "5 broker made ok job=j2 queue=q prio=5 state=ready\n" + cancelled +
                     "20 broker left ok job=j2 state=cancelled\n",
                 "j1 ready hash=a") == "");
  CHECK(violated(asked + "20 c purge invoke seq=1 queue=q\n21 c purge ok seq=1\n", "j1 ready hash=a") == "");
  CHECK(violated(asked + "20 c purge invoke seq=1 queue=r\n21 c purge ok seq=1\n", "j1 ready hash=a") ==
        "I14");
}

TEST_CASE("I16: what was confirmed can be looked up") {
  const std::string asked = kMade + "20 c get invoke seq=1 job=j1\n";
  CHECK(violated(asked + "21 c get ok seq=1\n", "j1 ready hash=a") == "");
  CHECK(violated(asked + "21 c get fail seq=1 err=no_such_job\n", "j1 ready hash=a") == "I16");
  CHECK(violated("0 p enqueue invoke seq=1 queue=q hash=a\n1 c get invoke seq=1 job=j1\n2 c get fail "
                 "seq=1\n10 p enqueue ok seq=1 job=j1\n",
                 "j1 ready hash=a") == "");
}

TEST_CASE("I17: cancelled, expired and paused jobs are not handed out") {
  const std::string late = "900 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n";
  const std::string stored = "j1 leased hash=a";
  const std::string cancelled = kMade + "20 c cancel invoke seq=1 job=j1\n30 c cancel ok seq=1 state=";
  CHECK(violated(cancelled + "gone\n" + late, stored) == "I17");
  CHECK(violated(cancelled + "leased\n" + late, stored) == "");
  const std::string expiring =
      "0 p enqueue invoke seq=1 queue=q hash=a expires_ms=500\n10 p enqueue ok seq=1 job=j1\n";
  CHECK(violated(expiring + late, stored) == "I17");
  CHECK(violated(expiring + "400 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n", stored) == "");
  // A running attempt finishes, and one begins when it is granted: a large job is on its way for a while.
  CHECK(violated(expiring + "450 broker granted ok job=j1 token=1\n" + late, stored) == "");
  CHECK(violated(expiring + "850 broker granted ok job=j1 token=1\n" + late, stored) == "I17");
  // Set back while the broker was down: it takes the outage for shorter than it was, and the job for younger.
  const std::string outage = "300 run clock ok wall=1000200\n", start = "600 broker start ok\n";
  CHECK(violated(expiring + "1 run clock ok wall=1000000\n" + outage + late, stored) == "I17");
  CHECK(violated(expiring + "1 run clock ok wall=1000000\n" + outage + start + late, stored) == "");
  CHECK(violated(expiring + start + late, stored) == "I17");
  const std::string paused = kMade + "20 c pause invoke seq=1 queue=q\n30 c pause ok seq=1 queue=q\n";
  CHECK(violated(paused + late, stored) == "I17");
  CHECK(violated(paused + "500 c resume invoke seq=1 queue=q\n" + late, stored) == "");
  CHECK(violated(paused + "25 broker granted ok job=j1 token=1\n" + late, stored) == "");
  CHECK(violated(paused + "700 broker granted ok job=j1 token=1\n" + late, stored) == "I17");
}

TEST_CASE("a line that cannot be read is an error, and one cut short by a kill is not") {
  const auto read = [](const std::string& text) {
    std::istringstream in{text};
    return read_history(&in);
  };
  CHECK_FALSE(read("{}\n").ok());
  CHECK_FALSE(read("nonsense\n").ok());
  CHECK_FALSE(read(R"({"t":1,"proc":"p","op":"ack","type":"maybe"})"
                   "\n")
                  .ok());
  const auto cut = read(R"({"t":1,"proc":"p","op":"ack","type":"ok"})"
                        "\n"
                        R"({"t":2,"proc":"p","o)");
  REQUIRE(cut.ok());
  CHECK(cut->size() == 1);
  std::istringstream dump{"{\"id\":\"j1\",\"state\":\"ready\"}\n{\"id\":\"j1\",\"state\":\"dead\"}\n"};
  CHECK_FALSE(read_dump(&dump).ok());
}

TEST_CASE("what a writer writes is what a reader reads") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  HistoryWriter writer{ends[1], "w1"};
  Event event;
  event.op = "deliver";
  event.type = EventType::ok;
  event.job = "j1";
  event.token = 4;
  event.hash = "\"quoted\"";
  event.lease_ms = 30'000;
  writer.write(event);
  writer.write(event);
  char bytes[4096];
  const ssize_t size = read(ends[0], bytes, sizeof bytes);
  REQUIRE(size > 0);
  close(ends[0]);
  close(ends[1]);
  std::istringstream in{std::string(bytes, static_cast<std::size_t>(size))};
  const auto events = read_history(&in);
  REQUIRE_MESSAGE(events.ok(), events.status().text());
  REQUIRE(events->size() == 2);
  CHECK((*events)[1].n == 2);
  CHECK((*events)[0].proc == "w1");
  CHECK((*events)[0].hash == event.hash);
  CHECK((*events)[0].token == 4);
  CHECK((*events)[0].lease_ms == 30'000);
  CHECK((*events)[0].t > 0);
}

TEST_CASE("the report tells the story of the first job") {
  std::istringstream history_in{history_of(kHeld + "15 broker crash info\n16 x frozen info within_ms=9\n"
                                                   "17 w frozen info within_ms=8\n99 broker crash info\n")};
  const auto history = read_history(&history_in);
  REQUIRE(history.ok());
  const std::string text = report(check_history(*history, {}), *history, {});
  CHECK(text.find("1 lost") != std::string::npos);
  CHECK(text.find("the story of job j1") != std::string::npos);
  CHECK(text.find("        0 p        enqueue    asks             queue q, prio 5, body a, seq 1\n") !=
        std::string::npos);
  CHECK(text.find("       10 p        enqueue    is told: done    seq 1\n") != std::string::npos);
  CHECK(text.find("       15 broker   crash\n") != std::string::npos);
  CHECK(text.find("       17 w        frozen                      for 8\n") != std::string::npos);
  CHECK(text.find("       20 w        deliver    receives it      token 1, attempt 1") != std::string::npos);
  CHECK(text.find(" 16 x ") == std::string::npos);  // it had nothing to do with it
  CHECK(text.find(" 99 ") == std::string::npos);    // it was over by then
  CHECK(text.find("not in the store") != std::string::npos);
}

}  // namespace jobq::faults
