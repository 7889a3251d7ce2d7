// When a connection whose peer vanished without a word (power, cable, a route that is gone) counts as lost: after
// about six seconds, on both sides, idle or not. The kernel asks, by TCP keepalive (RFC 9293, 3.8.4) and the user
// timeout (RFC 5482) of what was sent and not acknowledged.
//
// Not ZMTP's heartbeats, which do the same in the process: each wakes ZeroMQ's thread on both sides, and each answer
// makes libzmq look through the timers of all connections. A thousand idle workers took 11 % of a core by them. A
// process that is alive for the kernel and says nothing is the business of sessions and of requests' time limits.
// ipc:// needs neither: its peers cannot vanish alone.
//
// Thread-safety: constants.
#pragma once

namespace jobq::tcp_liveness {

// Thousands of connections that are idle together are asked in the same moments, and the kernel's queue of packets may
// have no room for all of them (net.core.netdev_max_backlog, 1,000 by default). Asked every second, 10,000 connections
// lost 1,300 packets a second; given up after two lost questions, 215 of them ended in half an hour although nobody had gone.
constexpr int kIdleSeconds = 2;           // without a word for so long: the first question
constexpr int kBetweenSeconds = 1;        // between two questions
constexpr int kQuestions = 4;             // unanswered ones that end the connection
constexpr int kUnacknowledgedMs = 6'000;  // bytes on their way for so long end it too, and questions

static_assert(kUnacknowledgedMs >= 1'000 * (kIdleSeconds + 3 * kBetweenSeconds), "some may be lost");

}  // namespace jobq::tcp_liveness
