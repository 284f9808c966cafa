#include "cli/output.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kvpareto {
namespace {

TEST(Output, CharactersWaitForTheirLastByte) {
  const std::string text = "aé日😀";
  const std::vector<size_t> whole = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_EQ(complete_utf8(std::string_view(text).substr(0, n)), whole[n]) << n;
}

TEST(Output, BytesThatCanBecomeNoCharacterDoNotWait) {
  EXPECT_EQ(complete_utf8("a\x80"), 2u);
  EXPECT_EQ(complete_utf8("\x80\x80\x80\x80"), 4u);
  EXPECT_EQ(complete_utf8("\xe6"
                          "abc"),
            4u);
}

TEST(Output, RowsInEveryFormat) {
  const std::vector<nlohmann::ordered_json> rows = {{{"name", "a,\"b\""}, {"n", 1}}, {{"name", "c"}, {"n", 22}}};
  EXPECT_EQ(rows_text(rows, "csv"), "name,n\n\"a,\"\"b\"\"\",1\nc,22\n");
  EXPECT_EQ(rows_text(rows, "jsonl"), "{\"name\":\"a,\\\"b\\\"\",\"n\":1}\n{\"name\":\"c\",\"n\":22}\n");
  EXPECT_EQ(nlohmann::json::parse(rows_text(rows, "json")).size(), 2u);
  EXPECT_EQ(nlohmann::json::parse(rows_text({rows[1]}, "json", true))["n"], 22);
  EXPECT_EQ(rows_text(rows, "md"), "| name  |   n |\n| ----- | --: |\n| a,\"b\" |   1 |\n| c     |  22 |\n");
}

}  // namespace
}  // namespace kvpareto
