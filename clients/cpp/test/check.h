// Tests, as small as can be: TEST(sentence) { CHECK(this); }
#pragma once

#include <string>
#include <vector>

struct Test {
  const char* sentence;
  void (*run)();

  static std::vector<Test>& all();
  static bool add(const char* sentence, void (*run)());
  // Notes that something is not as it should be.
  static void fail(const char* file, int line, const std::string& what);
};

#define TEST_JOINED(a, b) a##b
#define TEST_NAMED(a, b) TEST_JOINED(a, b)
#define TEST(sentence)                                                                       \
  static void TEST_NAMED(test_, __LINE__)();                                                 \
  static const bool TEST_NAMED(added_, __LINE__) = Test::add(sentence, TEST_NAMED(test_, __LINE__)); \
  static void TEST_NAMED(test_, __LINE__)()

// Ends the test where it does not hold.
#define CHECK(...)                                              \
  do {                                                          \
    if (!(__VA_ARGS__)) {                                       \
      Test::fail(__FILE__, __LINE__, #__VA_ARGS__);             \
      return;                                                   \
    }                                                           \
  } while (false)
