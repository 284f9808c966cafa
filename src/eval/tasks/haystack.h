#pragma once
// Running text without meaning for the question asked: the hay that needles are hidden in.

#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace kvpareto {

// `count` sentences of a made-up town's chronicle: some forty patterns over word lists, with a person who stays for a
// few sentences, so that the text hangs together and does not repeat. Without digits, colons and the word "magic".
std::vector<std::string> write_hay(int64_t count, Random& random);

// `count` sentences of `text` from a random one on, white space collapsed; from the start again at the end. Throws
// Error (kUsage) if it has no sentence.
std::vector<std::string> cut_hay(std::string_view text, int64_t count, Random& random);

}  // namespace kvpareto
