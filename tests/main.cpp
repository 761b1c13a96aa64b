#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <ostream>

namespace {

/// Prints the cases that are skipped because a need is not met (tests/support/needs.h), so that
/// nobody takes them for cases that passed.
class SkippedCases : public doctest::IReporter {
 public:
  explicit SkippedCases(const doctest::ContextOptions& options) : out_(*options.cout) {}

  void test_case_skipped(const doctest::TestCaseData& data) override {
    if (data.m_skip && data.m_description != nullptr)
      out_ << "skipped: \"" << data.m_name << "\" needs " << data.m_description << "\n";
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}

 private:
  std::ostream& out_;
};

REGISTER_LISTENER("skipped_cases", 1, SkippedCases);

}  // namespace
