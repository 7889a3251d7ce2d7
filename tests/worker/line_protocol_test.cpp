#include "worker/line_protocol.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

using jobq::Code;
using jobq::runner::AnswerOutcome;
using jobq::runner::base64;
using jobq::runner::job_line;
using jobq::runner::JobFacts;
using jobq::runner::parse_answer;
using nlohmann::json;

TEST_CASE("a job is one line of JSON, whatever its body") {
  JobFacts facts;
  facts.id = "j1";
  facts.queue = "q";
  facts.attempt = 1;
  facts.headers = {{"a", "1"}, {"a", "2"}, {"bad", "\xff"}};
  const std::string line = job_line(facts, "two\nlines \"quoted\" \xc3\xa4");
  CHECK(line.find('\n') == line.size() - 1);
  const json job = json::parse(line);
  CHECK(job["job"] == "j1");
  CHECK(job["body"] == "two\nlines \"quoted\" \xc3\xa4");
  CHECK(job["headers"] == json::parse(R"([["a","1"],["a","2"],["bad","\ufffd"]])"));
  CHECK_FALSE(job.contains("deadline"));
  CHECK_FALSE(job.contains("body_base64"));
  facts.deadline_s = 17;
  CHECK(json::parse(job_line(facts, ""))["deadline"] == 17);
}

TEST_CASE("a body that is not UTF-8 travels as base64") {
  const json job = json::parse(job_line(JobFacts{}, std::string_view("\x00\xff\x10", 3)));
  CHECK(job["body_base64"] == "AP8Q");
  CHECK_FALSE(job.contains("body"));
}

TEST_CASE("base64 as in RFC 4648") {
  CHECK(base64("").empty());
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xff\xfe") == "///+");
}

TEST_CASE("answers") {
  const auto ack = parse_answer(R"({"job":"j1","outcome":"ack","unknown":[1]})", "j1");
  REQUIRE(ack.ok());
  CHECK(ack->outcome == AnswerOutcome::ack);
  const auto nack = parse_answer(R"({"job":"j1","outcome":"nack","error":"no","delay_ms":1500})", "j1");
  REQUIRE(nack.ok());
  CHECK(nack->outcome == AnswerOutcome::nack);
  CHECK(nack->error == "no");
  CHECK(nack->delay.count() == 1500);
  const auto snooze = parse_answer(R"( {"outcome":"snooze","delay_ms":0,"job":"j1"} )", "j1");
  REQUIRE(snooze.ok());
  CHECK(snooze->outcome == AnswerOutcome::snooze);
  CHECK(parse_answer(R"({"job":"j1","outcome":"reject","error":"x"})", "j1")->outcome ==
        AnswerOutcome::reject);
  CHECK(parse_answer(R"({"job":"j1","outcome":"release"})", "j1")->outcome == AnswerOutcome::release);
}

TEST_CASE("what is no answer is refused with what it was") {
  const auto refusal = [](std::string_view line) {
    const auto answer = parse_answer(line, "j1");
    REQUIRE_MESSAGE(!answer.ok(), line);
    CHECK(answer.code() == Code::bad_message);
    return answer.status().text();
  };
  CHECK(refusal("processing order 5").find("'processing order 5'") != std::string::npos);
  CHECK(refusal("processing order 5").find("stderr") != std::string::npos);
  CHECK(refusal("").find("JSON") != std::string::npos);
  CHECK(refusal("\xff\xfe").find("\xef\xbf\xbd") != std::string::npos);
  CHECK(refusal("[1]").find("JSON object") != std::string::npos);
  CHECK(refusal(R"({"outcome":"ack"})").find("\"job\"") != std::string::npos);
  CHECK(refusal(R"({"job":7,"outcome":"ack"})").find("\"job\"") != std::string::npos);
  CHECK(refusal(R"({"job":"j2","outcome":"ack"})").find("not about j1") != std::string::npos);
  CHECK(refusal(R"({"job":"j1"})").find("snooze") != std::string::npos);
  CHECK(refusal(R"({"job":"j1","outcome":"done"})").find("release") != std::string::npos);
  CHECK(refusal(R"({"job":"j1","outcome":"nack","error":5})").find("\"error\"") != std::string::npos);
  CHECK(refusal(R"({"job":"j1","outcome":"snooze"})").find("delay_ms") != std::string::npos);
  CHECK(refusal(R"({"job":"j1","outcome":"snooze","delay_ms":-1})").find("delay_ms") != std::string::npos);
  CHECK(refusal(R"({"job":"j1","outcome":"snooze","delay_ms":1e99})").find("delay_ms") != std::string::npos);
  CHECK(refusal(R"({"job":"j1","outcome":"snooze","delay_ms":99999999999999999999})").find("delay_ms") !=
        std::string::npos);
  CHECK(refusal(std::string(5000, 'x')).size() < 400);
}
