// A Worker that runs in a thread of the test until it is stopped or the test ends.
#pragma once

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "jobq/worker.hpp"

namespace jobq::test {

class RunningWorker {
 public:
  RunningWorker(const std::string& endpoint, WorkerOptions options)
      : worker_(endpoint, quiet(std::move(options))) {}
  ~RunningWorker() {
    if (thread_.joinable()) finish();
  }
  RunningWorker(const RunningWorker&) = delete;
  RunningWorker& operator=(const RunningWorker&) = delete;

  Worker& operator*() { return worker_; }
  Worker* operator->() { return &worker_; }

  void start() {
    thread_ = std::thread([this] { report_ = worker_.run(); });
  }
  // stop(), and how the drain went.
  DrainReport finish() {
    worker_.stop();
    return join();
  }
  DrainReport join() {
    thread_.join();
    return report_;
  }

 private:
  static WorkerOptions quiet(WorkerOptions options) {
    options.handle_signals = false;
    options.log = [](std::string_view) {};
    return options;
  }

  Worker worker_;
  DrainReport report_;
  std::thread thread_;
};

}  // namespace jobq::test
