#include "libjobq/identity.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <random>
#include <utility>

#include "jobq/version.hpp"

namespace jobq {

LinkIdentity this_process(std::string endpoint) {
  std::array<char, 128> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  LinkIdentity identity;
  identity.endpoint = std::move(endpoint);
  identity.client = "libjobq " JOBQ_VERSION;
  identity.host = host.data();
  identity.pid = static_cast<std::uint32_t>(::getpid());
  return identity;
}

std::string program_name() { return program_invocation_short_name; }

ProducerId random_producer_id() {
  ProducerId id{};
  std::random_device source;
  do {
    for (std::uint8_t& byte : id) byte = static_cast<std::uint8_t>(source());
  } while (id == ProducerId{});
  return id;
}

}  // namespace jobq
