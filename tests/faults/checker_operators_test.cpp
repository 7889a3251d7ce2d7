// What operators do to jobs, queues, workers and tasks, judged by the broker's own lines. For each rule a history that must
// be rejected, and one next to it that must pass.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/faults/checker.hpp"
#include "tests/faults/written_history.hpp"

namespace jobq::faults {
namespace {

const std::string kConfirmed =
    "0 p enqueue invoke seq=1 queue=q hash=a\n5 broker made ok job=j1 queue=q prio=5 state=ready\n"
    "10 p enqueue ok seq=1 job=j1\n";
const std::string kRun = "20 broker granted ok job=j1 token=1 session=3\n";
const std::string kDead = kConfirmed + kRun + "30 broker died ok job=j1 state=rejected\n";
const std::string kRedriven = " broker redriven ok job=j1 state=ready\n";
const std::string kDumpedReady = "j1 ready hash=a", kDumpedDead = "j1 dead hash=a reason=rejected";

}  // namespace

TEST_CASE("I10: what is dead comes back because somebody asked for it") {
  CHECK(violated(kDead + "50" + kRedriven, kDumpedReady) == "I10");
  const std::string redrive = "40 o redrive invoke seq=1 queue=q\n",
                    retry = "40 o retry invoke seq=1 job=j1\n";
  CHECK(violated(kDead + redrive + "50" + kRedriven, kDumpedReady) == "");
  CHECK(violated(kDead + "40 o redrive invoke seq=1 queue=r\n50" + kRedriven, kDumpedReady) == "I10");
  CHECK(violated(kDead + redrive + "45 o redrive fail seq=1\n50" + kRedriven, kDumpedReady) == "I10");
  CHECK(violated(kDead + retry + "50" + kRedriven + "60 o retry ok seq=1\n", kDumpedReady) == "");
  // A question that was given up may be on its way still; one that was answered is not.
  CHECK(violated(kDead + retry + "45 o retry info seq=1\n50" + kRedriven, kDumpedReady) == "");
  CHECK(violated(kDead + retry + "45 o retry fail seq=1\n50" + kRedriven, kDumpedReady) == "I10");
  CHECK(violated(kDead + "40 o retry invoke seq=1 job=j2\n50" + kRedriven, kDumpedReady) == "I10");
}

TEST_CASE("I10: a cancelled redrive moves nothing more, and no redrive more than was asked for") {
  const auto redriven = [](const std::string& redrive, const std::string& cancel, int last) {
    std::string text;
    for (int n = 1; n <= 3; ++n)
      text += fmt::format(
          "0 p enqueue invoke seq={0} queue=q hash=h{0}\n5 broker made ok job=j{0} queue=q prio=5 "
          "state=ready\n"
          "10 p enqueue ok seq={0} job=j{0}\n20 broker granted ok job=j{0} token=1\n"
          "30 broker died ok job=j{0} state=rejected\n",
          n);
    text += "100 o redrive invoke seq=1 queue=q" + redrive + "\n100 broker task ok task=7 queue=q\n";
    text += "110 o redrive ok seq=1 task=7\n" + cancel;
    for (int n = 1; n <= last; ++n)
      text += fmt::format("{} broker redriven ok job=j{} state=ready\n", 100 + 600 * n, n);
    std::string dump;
    for (int n = 1; n <= 3; ++n)
      dump += fmt::format("j{} {} hash=h{} reason=rejected\n", n, n <= last ? "ready" : "dead", n);
    return violated(text, dump);
  };
  CHECK(redriven("", "", 3) == "");
  CHECK(redriven(" limit=2", "", 2) == "");
  CHECK(redriven(" limit=2", "", 3) == "I10");
  CHECK(redriven(" rate=2", "", 3) == "");
  CHECK(redriven(" rate=1", "", 3) == "I10");
  CHECK(redriven(" rate=1", "150 broker start ok\n", 3) == "");  // one at once after a start
  const std::string cancel = "800 o task_cancel invoke seq=2 task=7\n810 o task_cancel ok seq=2 task=7\n";
  CHECK(redriven("", cancel, 1) == "");
  CHECK(redriven("", cancel, 2) == "I10");
  CHECK(redriven("", "800 o task_cancel invoke seq=2 task=8\n810 o task_cancel ok seq=2 task=8\n", 2) == "");
  CHECK(redriven("", "800 broker task_over ok task=7 queue=q\n", 2) == "I10");
}

TEST_CASE("I10: what came back from the dead runs before it dies again") {
  const std::string back = kDead + "40 o redrive invoke seq=1 queue=q\n50" + kRedriven;
  const std::string died = " broker died ok job=j1 state=rejected\n";
  CHECK(violated(back + "60 broker granted ok job=j1 token=2\n70" + died, kDumpedDead) == "");
  CHECK(violated(back + "70" + died, kDumpedDead) == "I10");
}

TEST_CASE("I10: a job that was retried is ready then") {
  const std::string asked = "40 o retry invoke seq=1 job=j1\n", answered = "60 o retry ok seq=1\n";
  CHECK(violated(kDead + asked + "50" + kRedriven + answered, kDumpedReady) == "");
  CHECK(violated(kDead + asked + answered, kDumpedDead) == "I10");
  CHECK(violated(kDead + asked + "60 o retry fail seq=1 err=wrong_state\n", kDumpedDead) == "");
  CHECK(violated(kConfirmed + asked + answered, kDumpedReady) == "");  // it was already
  const std::string put_off = kConfirmed + "20 broker put_off ok job=j1 state=scheduled\n";
  CHECK(violated(put_off + asked + answered, "j1 scheduled hash=a") == "I10");
  CHECK(violated(put_off + asked + "50 broker ready ok job=j1 state=ready\n" + answered, kDumpedReady) == "");
}

TEST_CASE("I8: a job that was put off does not run before its time, unless somebody sets another") {
  const auto granted = [](const std::string& more, int t) {
    return violated(
        kConfirmed +
            "20 o put_off invoke seq=1 job=j1 delay_ms=1000\n25 broker put_off ok job=j1 state=scheduled\n"
            "30 o put_off ok seq=1\n" +
            more + fmt::format("{} broker granted ok job=j1 token=1\n", t),
        "j1 leased hash=a");
  };
  CHECK(granted("", 1020) == "");
  CHECK(granted("", 500) == "I8");
  CHECK(granted("40 o retry invoke seq=2 job=j1\n", 500) == "");
  CHECK(granted("40 o retry invoke seq=2 job=j1\n45 o retry fail seq=2\n", 500) == "I8");
  CHECK(granted("40 o put_off invoke seq=2 job=j1 delay_ms=100\n", 500) == "");
  CHECK(granted("40 o put_off invoke seq=2 job=j2 delay_ms=100\n", 500) == "I8");
  // A clock that was set while the broker was down is taken for time that has passed.
  CHECK(granted("0 run clock ok wall=1000000\n100 run clock ok wall=2000000\n200 broker start ok\n", 500) ==
        "");
  // Refused: it runs when it would have.
  CHECK(violated(kConfirmed + "20 o put_off invoke seq=1 job=j1 delay_ms=1000\n30 o put_off fail seq=1\n" +
                     "40 broker granted ok job=j1 token=1\n",
                 "j1 leased hash=a") == "");
}

TEST_CASE("I8: an operator may end a delay, and nobody else") {
  const auto delivered = [](const std::string& operators) {
    return violated("0 p enqueue invoke seq=1 queue=q hash=a delay_ms=500\n10 p enqueue ok seq=1 job=j1\n" +
                        operators + "100 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n",
                    "j1 leased hash=a");
  };
  CHECK(delivered("") == "I8");
  CHECK(delivered("20 o retry invoke seq=1 job=j1\n") == "");
  CHECK(delivered("20 o put_off invoke seq=1 job=j1 delay_ms=10\n") == "");
  CHECK(delivered("20 o retry invoke seq=1 job=j2\n") == "I8");
  CHECK(delivered("200 o retry invoke seq=1 job=j1\n") == "I8");
}

TEST_CASE("I1: a queue is removed when its jobs are gone, each with a reason, and because somebody asked") {
  const std::string asked = "40 o rm invoke seq=1 queue=q\n", answered = "60 o rm ok seq=1\n";
  const std::string removed = "50 broker removed ok queue=q\n";
  const std::string purged = "20 o purge invoke seq=9 queue=q\n30 broker left ok job=j1 state=purged\n";
  CHECK(violated(kConfirmed + purged + asked + removed + answered, "") == "");
  CHECK(violated(kConfirmed + purged + removed, "") == "I1");
  CHECK(violated(kConfirmed + asked + removed + answered, kDumpedReady) == "I1");
  CHECK(violated(kConfirmed + asked + removed + answered, "") == "I1");
  CHECK(violated(kDead + asked + removed + answered, kDumpedDead) == "I1");
  CHECK(violated(kConfirmed + purged + asked + answered, "") == "I1");  // told, and not done
  CHECK(violated(kConfirmed + asked + "60 o rm fail seq=1 err=wrong_state\n", kDumpedReady) == "");
}

TEST_CASE("I17: a queue that is made again after its removal is open") {
  const auto delivered = [](const std::string& removal) {
    return violated("0 c pause invoke seq=1 queue=q\n1 c pause ok seq=1 queue=q\n" + removal +
                        "300 p enqueue invoke seq=1 queue=q hash=a\n310 p enqueue ok seq=1 job=j1\n"
                        "900 w deliver ok job=j1 token=1 attempt=1 queue=q hash=a\n",
                    "j1 leased hash=a");
  };
  CHECK(delivered("") == "I17");
  CHECK(delivered("5 c rm invoke seq=2 queue=q\n9 c rm ok seq=2\n") == "");
  CHECK(delivered("5 c rm invoke seq=2 queue=q\n9 c rm fail seq=2\n") == "I17");
}

TEST_CASE("I17: a worker that was drained gets nothing more") {
  const auto granted = [](const std::string& more, int session) {
    return violated(kConfirmed + "12 o drain invoke seq=1 session=3\n15 o drain " + more +
                        fmt::format("20 broker granted ok job=j1 token=1 session={}\n", session),
                    "j1 leased hash=a");
  };
  CHECK(granted("ok seq=1\n", 3) == "I17");
  CHECK(granted("ok seq=1\n", 4) == "");
  CHECK(granted("fail seq=1\n", 3) == "");
  CHECK(granted("info seq=1\n", 3) == "");
  CHECK(granted("ok seq=1\n18 broker start ok\n", 3) == "");  // forgotten, as docs/protocol.md says
}

TEST_CASE("I15, I18: a task is on disk before it is confirmed, is known until it has ended, and ends") {
  const std::string asked = "20 o redrive invoke seq=1 queue=q\n",
                    task = "25 broker task ok task=7 queue=q\n";
  const std::string confirmed = kConfirmed + asked + task + "30 o redrive ok seq=1 task=7\n";
  CHECK(violated(confirmed, kDumpedReady) == "");
  CHECK(violated(kConfirmed + asked + "24 o redrive ok seq=1 task=7\n" + task, kDumpedReady) == "I15");
  const std::string cancel =
      "50 o task_cancel invoke seq=2 task=7\n60 o task_cancel fail seq=2 err=bad_argument\n";
  const std::string over = "40 broker task_over ok task=7 queue=q\n";
  CHECK(violated(confirmed + cancel, kDumpedReady) == "I18");
  CHECK(violated(confirmed + over + cancel, kDumpedReady) == "");
  const std::string drained = "100 run drained ok\n";
  CHECK(violated(confirmed + drained, kDumpedReady) == "I18");
  CHECK(violated(confirmed + over + drained, kDumpedReady) == "");
}

}  // namespace jobq::faults
