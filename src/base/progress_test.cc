#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/testing.h"

namespace kvpareto {
namespace {
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ProgressTest : public ::testing::Test {
 protected:
  ~ProgressTest() override { std::fclose(stream_); }
  std::string written() {
    std::fflush(stream_);
    return std::filesystem::file_size(path_) == 0 ? "" : read_file(path_);
  }
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "progress";
  std::FILE* stream_ = std::fopen(path_.c_str(), "w");
};

TEST_F(ProgressTest, LineTellsDoneRateAndRemainingTime) {
  const Progress progress("search", 20, "points", stream_);
  EXPECT_EQ(progress.line(5, "k8v8", 2.5),
            "search [======                  ] 5/20 points  2.0 points/s  0:08 left  k8v8");
}

TEST_F(ProgressTest, SlowWorkIsSecondsEach) {
  const Progress progress("search", 20, "points", stream_);
  EXPECT_THAT(progress.line(2, "", 60), EndsWith("2/20 points  30.0 s/point  9:00 left"));
}

TEST_F(ProgressTest, NoRateBeforeTheFirstUnit) {
  const Progress progress("search", 20, "points", stream_);
  EXPECT_THAT(progress.line(0, "", 10), EndsWith("0/20 points"));
}

TEST_F(ProgressTest, ResumedWorkDoesNotCountAsSpeed) {
  Progress progress("search", 20, "points", stream_);
  progress.skip(10);
  EXPECT_THAT(progress.line(12, "", 4), HasSubstr("  2.0 s/point  0:16 left"));
}

TEST_F(ProgressTest, WorkThatIsCutShortCountsDownToItsLimit) {
  Progress progress("search", 20, "points", stream_);
  progress.set_limit(100);
  EXPECT_THAT(progress.line(2, "", 60), EndsWith("  30.0 s/point  0:40 to the time limit"));
  EXPECT_THAT(progress.line(19, "", 60), EndsWith("  0:03 left"));
  EXPECT_THAT(progress.line(2, "", 120), EndsWith("  0:00 to the time limit"));
}

TEST_F(ProgressTest, StaysWithinItsBar) {
  Progress progress("search", 4, "points", stream_);
  EXPECT_THAT(progress.line(9, "", 1), HasSubstr("[========================] 9/4"));
  progress.set_total(0);
  EXPECT_THAT(progress.line(0, "", 1), HasSubstr("[========================] 0/0"));
}

TEST_F(ProgressTest, ALogGetsWholeLinesNowAndThen) {
  Progress progress("search", 3, "points", stream_);
  progress.update(0);
  progress.update(1);  // too soon after the last
  progress.update(3);  // the end is always told
  EXPECT_THAT(written(), HasSubstr("0/3 points\n"));
  EXPECT_THAT(written(), Not(HasSubstr("1/3")));
  EXPECT_THAT(written(), HasSubstr("3/3 points"));
  EXPECT_THAT(written(), Not(HasSubstr("\r")));
}

// A terminal of 50 columns is given lines that do not wrap, whatever the note.
TEST(ProgressOnATerminal, LinesDoNotWrap) {
  int master = -1, slave = -1;
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 50;
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
  std::FILE* stream = ::fdopen(slave, "w");
  {
    Progress progress("search", 2, "points", stream);
    progress.update(2, std::string(300, 'x'));
  }
  char drawn[1000];
  const ssize_t count = ::read(master, drawn, sizeof drawn);
  std::fclose(stream);
  ::close(master);
  ASSERT_GT(count, 0);
  std::string line(drawn, static_cast<size_t>(count));
  line = line.substr(line.find('s'), line.find("\r", 1) - line.find('s'));
  EXPECT_THAT(line, StartsWith("search ["));
  EXPECT_LT(line.size(), 50u);
  EXPECT_GT(line.size(), 40u);
}

}  // namespace
}  // namespace kvpareto
