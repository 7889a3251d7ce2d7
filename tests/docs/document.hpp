// What the pieces of a document find around them: a broker of their own, and its endpoint in the place where the
// document writes "tcp://127.0.0.1:7710" (blocks.py puts `doc_endpoint` there).
#pragma once

#include <string>

#include "tests/client/e2e/broker_process.hpp"

namespace jobq::test {

struct Document {
  BrokerProcess broker;
  std::string doc_endpoint;

  Document() : doc_endpoint(broker.endpoint()) { broker.start(); }
};

}  // namespace jobq::test
