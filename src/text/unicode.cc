#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace kvpareto {

size_t character_size(std::string_view text) {
  if (text.empty()) return 0;
  if (static_cast<uint8_t>(text[0]) < 0x80) return 1;
  utf8proc_int32_t code_point;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size =
      utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(std::min<size_t>(text.size(), 4)), &code_point);
  return size > 0 ? static_cast<size_t>(size) : 0;
}

namespace {

int32_t code_point_at(std::string_view text) {
  utf8proc_int32_t code_point = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &code_point);
  return code_point;
}

// Every character below U+0300 (whose UTF-8 begins with 0xCC) is its own composed form.
bool surely_composed(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0xCC; });
}

int combining_class(int32_t code_point) { return utf8proc_get_property(code_point)->combining_class; }

std::vector<utf8proc_int32_t> decompose(std::string_view text) {
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (size_t size; !text.empty(); text.remove_prefix(size)) {
    size = character_size(text);
    utf8proc_int32_t parts[16];  // the longest canonical decomposition has four
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(code_point_at(text.substr(0, size)), parts, 16,
                                static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE), &boundary);
    points.insert(points.end(), parts, parts + std::clamp<utf8proc_ssize_t>(count, 0, 16));
  }
  return points;
}

// Canonical order of combining marks. utf8proc_decompose() would do it, by a bubble sort that takes minutes on a
// megabyte of marks.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  const auto is_mark = [](int32_t point) { return combining_class(point) != 0; };
  for (auto begin = points.begin(); begin != points.end();) {
    begin = std::find_if(begin, points.end(), is_mark);
    const auto end = std::find_if_not(begin, points.end(), is_mark);
    std::stable_sort(begin, end, [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

std::string compose_valid(std::string_view text) {
  if (surely_composed(text)) return std::string(text);
  std::vector<utf8proc_int32_t> points = decompose(text);
  order_marks(points);
  const auto count = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (count < 0) fail("text cannot be normalized: {}", utf8proc_errmsg(count));
  std::string composed;
  composed.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    utf8proc_uint8_t bytes[4];
    const auto size = utf8proc_encode_char(points[i], bytes);
    composed.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  }
  return composed;
}

// Python's str.isspace() of one character.
bool is_space(int32_t code_point) {
  const auto* property = utf8proc_get_property(code_point);
  return property->category == UTF8PROC_CATEGORY_ZS || property->bidi_class == UTF8PROC_BIDI_CLASS_WS ||
         property->bidi_class == UTF8PROC_BIDI_CLASS_B || property->bidi_class == UTF8PROC_BIDI_CLASS_S;
}

bool is_white_space(std::string_view character) {
  const int32_t code_point = code_point_at(character);
  return is_space(code_point) && (code_point < 0x1c || code_point > 0x1f);
}

bool is_in_word(int32_t code_point) {
  const auto category = utf8proc_category(code_point);
  const bool is_joiner = code_point == 0x200c || code_point == 0x200d;
  // The symbols that are alphabetic: letters in circles and squares.
  const bool is_enclosed =
      (code_point >= 0x24b6 && code_point <= 0x24e9) || (code_point >= 0x1f130 && code_point <= 0x1f149) ||
      (code_point >= 0x1f150 && code_point <= 0x1f169) || (code_point >= 0x1f170 && code_point <= 0x1f189);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
         is_joiner || is_enclosed;
}

// Empty if the text ends with bytes of no valid character.
std::string_view last_character(std::string_view text) {
  size_t size = 1;
  while (size < 4 && size < text.size() && (text[text.size() - size] & 0xc0) == 0x80) ++size;
  const std::string_view last = text.substr(text.size() - std::min(size, text.size()));
  return character_size(last) == last.size() ? last : std::string_view();
}

// Letters, marks, numbers, punctuation, symbols and spaces; not line separators, controls, format or unassigned
// characters.
bool is_visible(int32_t code_point) {
  const auto category = utf8proc_category(code_point);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ZS;
}

}  // namespace

size_t valid_prefix(std::string_view text) {
  size_t end = 0;
  while (const size_t size = character_size(text.substr(end))) end += size;
  return end;
}

size_t invalid_prefix(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && character_size(text.substr(end)) == 0) ++end;
  return end;
}

std::string compose(std::string_view text) {
  std::string composed;
  composed.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = valid_prefix(text);
    composed += compose_valid(text.substr(0, valid));
    text.remove_prefix(valid);
    const size_t invalid = invalid_prefix(text);
    composed += text.substr(0, invalid);
    text.remove_prefix(invalid);
  }
  return composed;
}

std::string_view trim(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t position = 0, size; position < text.size(); position += size) {
    size = std::max<size_t>(character_size(text.substr(position)), 1);
    if (is_space(code_point_at(text.substr(position, size)))) continue;
    begin = std::min(begin, position);
    end = position + size;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

size_t white_space_at_start(std::string_view text) {
  size_t end = 0;
  while (const size_t size = character_size(text.substr(end))) {
    if (!is_white_space(text.substr(end, size))) break;
    end += size;
  }
  return end;
}

size_t white_space_at_end(std::string_view text) {
  size_t begin = text.size();
  for (;;) {
    const std::string_view last = last_character(text.substr(0, begin));
    if (last.empty() || !is_white_space(last)) break;
    begin -= last.size();
  }
  return text.size() - begin;
}

bool starts_with_word(std::string_view text) {
  const size_t size = character_size(text);
  return size > 0 && is_in_word(code_point_at(text.substr(0, size)));
}

bool ends_with_word(std::string_view text) {
  const std::string_view last = last_character(text);
  return !last.empty() && is_in_word(code_point_at(last));
}

int32_t code_point(std::string_view character) { return code_point_at(character); }

std::string encode_utf8(uint32_t code_point) {
  utf8proc_uint8_t bytes[4];
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) return "";
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)};
}

namespace {

template <typename Change>
std::string changed(std::string_view text, Change change) {
  std::string out;
  for (size_t size; !text.empty(); text.remove_prefix(size)) {
    size = character_size(text);
    if (size == 0) {
      out.push_back(text[0]);
      size = 1;
      continue;
    }
    const std::string_view character = text.substr(0, size);
    out += encode_utf8(static_cast<uint32_t>(change(code_point_at(character), character)));
  }
  return out;
}

}  // namespace

std::string upper_case(std::string_view text) {
  return changed(text, [](int32_t point, std::string_view) { return utf8proc_toupper(point); });
}
std::string lower_case(std::string_view text) {
  return changed(text, [](int32_t point, std::string_view) { return utf8proc_tolower(point); });
}
std::string title_case(std::string_view text, bool (*begins)(std::string_view before)) {
  bool first = true;
  return changed(text, [&](int32_t point, std::string_view character) {
    const bool upper = first;
    first = begins != nullptr && begins(character);
    return upper ? utf8proc_toupper(point) : utf8proc_tolower(point);
  });
}

std::string shown(std::string_view text, size_t longest) {
  std::string line;
  while (!text.empty() && line.size() < longest) {
    const size_t size = character_size(text);
    const std::string_view character = text.substr(0, std::max<size_t>(size, 1));
    text.remove_prefix(character.size());
    if (size > 0 && is_visible(code_point_at(character))) {
      line += character;
      continue;
    }
    for (char c : character) line += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
  }
  return text.empty() ? line : line + "...";
}

}  // namespace kvpareto
