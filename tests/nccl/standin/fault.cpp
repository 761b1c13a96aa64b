#include "tests/nccl/standin/fault.h"

#include <cstdio>
#include <cstdlib>
#include <functional>

namespace standin {
namespace {

/// Calls use(number, kind) for every fault of the rank.
void for_each_fault(int rank, const std::function<void(uint64_t, const std::string&)>& use) {
  const char* const text = getenv("NCCL_STANDIN_FAULT");
  std::string rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const std::string one = rest.substr(0, rest.find(','));
    rest.erase(0, one.size() + 1);
    int of = 0, length = 0;
    unsigned long long number = 0;
    if (sscanf(one.c_str(), "%d:%llu:%n", &of, &number, &length) != 2 || length == 0) {
      fprintf(stderr, "NCCL_STANDIN_FAULT: expected RANK:NUMBER:KIND, not '%s'\n", one.c_str());
      abort();
    }
    if (of == rank) use(number, one.substr(static_cast<size_t>(length)));
  }
}

}  // namespace

std::string fault(int rank, uint64_t number, const char* kinds) {
  std::string found;
  for_each_fault(rank, [&](uint64_t at, const std::string& kind) {
    const std::string name = " " + kind.substr(0, kind.find('=')) + " ";
    if (at == number && std::string(kinds).find(name) != std::string::npos) found = kind;
  });
  return found;
}

bool has_fault(int rank, const char* kind) {
  bool found = false;
  for_each_fault(rank, [&](uint64_t, const std::string& of) { found = found || of == kind; });
  return found;
}

}  // namespace standin
