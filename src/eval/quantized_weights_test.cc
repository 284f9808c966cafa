#include "eval/quantized_weights.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

namespace kvpareto {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

std::string name_of(const std::string& scheme) { return quantized_folder_name(1, parse_weights(scheme), 2); }

TEST(QuantizedFolder, SaysWhatItHolds) {
  EXPECT_THAT(name_of("w4g64e8.awq,qkv:w8g128"), HasSubstr("-w4g64,qkv:w8g128-"));
  EXPECT_THAT(name_of("w4g64.awq"), EndsWith(fmt::format("-{}", kQuantizeRecipe)));
  EXPECT_EQ(name_of("w4g64.awq"), name_of("w4g64e8.awq")) << "embedding and head are not in it";
}

// A mixture has up to four parts a layer.
TEST(QuantizedFolder, NamesOfLongMixturesAreShortAndDiffer) {
  std::string scheme = "w4g64.awq";
  std::set<std::string> names = {name_of(scheme)};
  for (int layer = 0; layer < 80; ++layer) {
    scheme += fmt::format(",{}.{}:w8g128", layer, layer % 2 == 0 ? "qkv" : "down");
    const std::string name = name_of(scheme);
    EXPECT_LT(name.size(), 200u);
    EXPECT_THAT(name, HasSubstr("-w4g64,"));
    EXPECT_TRUE(names.insert(name).second) << scheme;
  }
}

}  // namespace
}  // namespace kvpareto
