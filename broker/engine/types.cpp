#include "broker/engine/types.hpp"

namespace jobq {

const char* to_string(Exit exit) {
  switch (exit) {
    case Exit::acked:
      return "acked";
    case Exit::expired:
      return "expired";
    case Exit::cancelled:
      return "cancelled";
    case Exit::purged:
      return "purged";
    case Exit::dropped:
      return "dropped";
  }
  return "?";
}

const char* to_string(AttemptOutcome outcome) {
  switch (outcome) {
    case AttemptOutcome::failed:
      return "failed";
    case AttemptOutcome::timed_out:
      return "timed_out";
    case AttemptOutcome::crashed:
      return "crashed";
    case AttemptOutcome::lapsed:
      return "lapsed";
    case AttemptOutcome::rejected:
      return "rejected";
  }
  return "?";
}

const char* to_string(DeadReason reason) {
  switch (reason) {
    case DeadReason::attempts:
      return "attempts";
    case DeadReason::rejected:
      return "rejected";
    case DeadReason::crashes:
      return "crashes";
    case DeadReason::damaged:
      return "damaged";
  }
  return "?";
}

const char* to_string(TaskKind kind) {
  switch (kind) {
    case TaskKind::redrive:
      return "redrive";
    case TaskKind::purge_dead:
      return "dead.purge";
    case TaskKind::purge_queue:
      return "queue.purge";
    case TaskKind::drop_dead:
      return "dead.retention";
  }
  return "?";
}

const char* to_string(JobState state) {
  switch (state) {
    case JobState::scheduled:
      return "scheduled";
    case JobState::ready:
      return "ready";
    case JobState::leased:
      return "leased";
    case JobState::dead:
      return "dead";
    case JobState::gone:
      return "gone";
  }
  return "?";
}

}  // namespace jobq
