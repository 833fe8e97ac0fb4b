#include <iostream>

#include "check.h"

namespace {

int failures = 0;

}  // namespace

std::vector<Test>& Test::all() {
  static std::vector<Test> tests;
  return tests;
}

bool Test::add(const char* sentence, void (*run)()) {
  all().push_back({sentence, run});
  return true;
}

void Test::fail(const char* file, int line, const std::string& what) {
  ++failures;
  std::cout << file << ":" << line << ": not so: " << what << std::endl;
}

int main() {
  for (const auto& test : Test::all()) {
    const int before = failures;
    test.run();
    std::cout << (failures == before ? "ok      " : "FAILED  ") << test.sentence << std::endl;
  }
  std::cout << Test::all().size() << " tests, " << failures << " failed" << std::endl;
  return failures == 0 && !Test::all().empty() ? 0 : 1;
}
