#include "cli/values.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kvpareto {
namespace {

constexpr Range kAny = {0, 1 << 20};

TEST(Values, ListsAndRanges) {
  EXPECT_EQ(parse_integers("-c", "512,4096", kAny), (std::vector<int>{512, 4096}));
  EXPECT_EQ(parse_integers("-c", "1024-4096+1024", kAny), (std::vector<int>{1024, 2048, 3072, 4096}));
  EXPECT_EQ(parse_integers("-c", "10-20+7,3", kAny), (std::vector<int>{10, 17, 3}));
  EXPECT_EQ(parse_integers("-c", "8,8,4-8+4", kAny), (std::vector<int>{8, 4}));
}

TEST(Values, RefusesWhatIsNoList) {
  for (const char* text : {"", ",", "1,", "x", "1-5", "5-1+1", "1-5+0", "1-5+x", "1--5+1", "0-1048576+1", "2097152",
                           "-1", "1 ", "0x10", "1e3", "99999999999999999999"}) {
    EXPECT_THROW(parse_integers("-c", text, kAny), Error) << text;
  }
}

TEST(Values, Seconds) {
  EXPECT_EQ(parse_seconds("--max-time", "90"), 90);
  EXPECT_EQ(parse_seconds("--max-time", "4.5m"), 270);
  EXPECT_EQ(parse_seconds("--max-time", "1h"), 3600);
  for (const char* text : {"", "0", "-1m", "m", "1d", "1.2.3s", "nan", "inf"}) {
    EXPECT_THROW(parse_seconds("--max-time", text), Error) << text;
  }
}

TEST(Values, Bytes) {
  EXPECT_EQ(parse_bytes("--device-memory", "512MiB"), 512 * 0x1p20);
  EXPECT_EQ(parse_bytes("--device-memory", "1.5G"), 1.5 * 0x1p30);
  EXPECT_EQ(parse_bytes("--device-memory", "123"), 123);
  for (const char* text : {"", "0", "MiB", "1 MiB", "1MB"})
    EXPECT_THROW(parse_bytes("--device-memory", text), Error) << text;
}

TEST(Values, Percent) {
  EXPECT_DOUBLE_EQ(parse_percent("--max-drop", "1%"), 0.01);
  EXPECT_DOUBLE_EQ(parse_percent("--max-drop", "2.5%"), 0.025);
  EXPECT_DOUBLE_EQ(parse_percent("--max-drop", "0.05"), 0.05);
  for (const char* text : {"", "0", "100%", "1", "-1%", "%", "1 %"})
    EXPECT_THROW(parse_percent("--max-drop", text), Error) << text;
}

TEST(Values, ErrorsNameOptionAndNearestChoice) {
  try {
    parse_choice("-o/--output", "jsn", {"md", "json", "csv"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kUsage);
    EXPECT_STREQ(error.what(), "-o/--output takes one of md, json, csv, not 'jsn'; did you mean 'json'?");
  }
}

}  // namespace
}  // namespace kvpareto
