#include "eval/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing.h"

namespace kvpareto {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Data : public ::testing::Test {
 protected:
  std::string file(const std::string& contents) {
    write_file(folder_ / "file", contents);
    return folder_ / "file";
  }
  TemporaryFolder folder_;
};

TEST_F(Data, CsvCellsMayHoldWhatPartsThem) {
  const auto rows = read_csv(file("a,\"b,c\",\"d \"\"e\"\"\"\r\n\"f\ng\",,h"), 3);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], (std::vector<std::string>{"a", "b,c", "d \"e\""}));
  EXPECT_EQ(rows[1], (std::vector<std::string>{"f\ng", "", "h"}));
}

TEST_F(Data, CsvOfAnotherWidthIsRefused) {
  EXPECT_THAT(message_of([&] { read_csv(file("a,b\nc\n"), 2); }), HasSubstr("row 2: wanted 2 cells, found 1"));
  EXPECT_THAT(message_of([&] { read_csv(file("\n"), 2); }), HasSubstr("found none"));
  EXPECT_THAT(message_of([&] { read_csv(file("\"a,b\nc"), 2); }), HasSubstr("found 1"));
}

TEST_F(Data, RecordsKeepWhatTheyHave) {
  const auto records =
      read_records(file("{\"input\": \"q\", \"context\": \"c\", \"answers\": [\"x\", 3, \"y\"], \"length\": 4}\n\n"
                        "{\"question\": \"\\u00e4\", \"answer\": 7}\n"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].input, "q");
  EXPECT_EQ(records[0].answers, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(records[1].question, "\u00e4");
  EXPECT_EQ(records[1].answer, "");
}

TEST_F(Data, BrokenLinesAreNamed) {
  EXPECT_THAT(message_of([&] { read_records(file("{}\n[1]\n")); }),
              AllOf(HasSubstr("line 2"), HasSubstr("JSON object")));
  EXPECT_THAT(message_of([&] { read_records(file("{\"a\": \n")); }), HasSubstr("line 1"));
  EXPECT_THAT(message_of([&] { read_records(file("\n")); }), HasSubstr("found none"));
}

TEST_F(Data, MissingFilesTellWhatFetchesThem) {
  EXPECT_THAT(message_of([] { data_path("", "gsm8k/test.jsonl"); }), HasSubstr("KVPARETO_DATA"));
  EXPECT_THAT(message_of([&] { data_path(folder_.path(), "gsm8k/test.jsonl"); }),
              AllOf(HasSubstr("gsm8k/test.jsonl"), HasSubstr("tools/fetch_data.py")));
}

}  // namespace
}  // namespace kvpareto
