#pragma once
// The text of one side of a scheme: what parsing and printing of whole schemes (scheme_text.cc) share. The grammar is
// in scheme.h.

#include <optional>
#include <string>
#include <string_view>

#include "kv/scheme.h"

namespace kvpareto {

inline constexpr std::string_view kPlainSide = "plain";  // in a change: none of the options

// Reads the parts of one text off its front; refuses with the whole text and the reason.
class SchemeReader {
 public:
  explicit SchemeReader(std::string_view text) : whole_(text), rest_(text) {}

  bool done() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }
  bool take(std::string_view word);
  std::optional<int> number();
  std::string_view word() const;  // letters at the front

  // Throw Error (kUsage).
  [[noreturn]] void refuse(const std::string& reason) const;
  [[noreturn]] void refuse_left_over() const;

 private:
  std::string_view whole_, rest_;
};

// "k" or "v" and what follows it, as a change of `side`; whether a grouping was written. Stops before ".v4" and before
// options of the whole scheme. Throws Error (kUsage).
bool take_side(SchemeReader& reader, char letter, SideScheme& side, bool may_be_plain);

// Whether scale and minimum have a grouping that can be written: bf16 has none, q8 and q4 have one alone.
bool has_grouping(const SideScheme& side);
bool same_grouping(const SideScheme& a, const SideScheme& b);

std::string bits_text(const SideScheme& side);      // "4", "q8"
std::string grouping_text(const SideScheme& side);  // "g64", "t32"
std::string options_text(const SideScheme& side);   // ".pre.fit"
std::vector<std::string> side_option_names();

// A user's text as a part of one line: short, no control characters.
std::string shown_part(std::string_view text);

}  // namespace kvpareto
