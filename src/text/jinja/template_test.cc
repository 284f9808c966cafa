// Against jinja2 itself: golden renderings by tools/make_chat_golden.py, of the templates in testdata/chat and of those
// in the folder $KVPARETO_CHAT_GOLDEN, if it is set.
#include "text/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/testing.h"
#include "text/chat.h"

namespace kvpareto::jinja {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

Value value_of(const ordered_json& json) {
  if (json.is_null()) return nullptr;
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    List items;
    for (const ordered_json& item : json) items.push_back(value_of(item));
    return items;
  }
  Dict members;
  for (const auto& [name, member] : json.items()) members.emplace_back(name, value_of(member));
  return members;
}

std::vector<std::string> golden_files() {
  std::vector<std::string> files;
  const char* more = std::getenv("KVPARETO_CHAT_GOLDEN");
  for (const std::string& folder : {std::string(KVPARETO_TESTDATA "/chat"), std::string(more != nullptr ? more : "")}) {
    if (folder.empty()) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

class GoldenTemplate : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTemplate, RendersAsJinja2Does) {
  const ordered_json golden = ordered_json::parse(read_file(GetParam()));
  const std::filesystem::path path = GetParam();
  const std::string source = golden.contains("template")
                                 ? golden["template"].get<std::string>()
                                 : read_file(path.parent_path() / "templates" / path.stem().concat(".jinja"));
  ASSERT_GE(golden["cases"].size(), 20u);
  for (const ordered_json& row : golden["cases"]) {
    const Value variables = value_of(row["variables"]);
    std::string found;
    const auto error = error_of([&] { found = render(source, *variables.dict(), default_day()); });
    const std::string where = row["variables"].dump();
    if (row.contains("error")) {
      EXPECT_TRUE(error.has_value()) << where << "\nshould be refused: " << row["error"] << "\nbut gave " << found;
      const std::string message = row["error"];
      if (error && message.starts_with("TemplateError: ")) {
        EXPECT_THAT(error->what(), HasSubstr("refuses the conversation: " + message.substr(15)));
      }
      continue;
    }
    EXPECT_FALSE(error.has_value()) << where << "\n" << error->what();
    EXPECT_EQ(found, row["text"].get<std::string>()) << where;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTemplate, testing::ValuesIn(golden_files()), [](const auto& instance) {
  std::string name = std::filesystem::path(instance.param).stem();
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name + std::to_string(instance.index);
});

std::string refusal(const std::string& source) {
  const std::string message = message_of([&] { render(source, {{"x", 1}, {"s", "text"}}, default_day()); });
  EXPECT_EQ(message.find('\n'), message.npos);
  EXPECT_LT(message.size(), 500u);
  return message;
}

TEST(Template, NamesWhatIsBeyondIt) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n{% include 'b' %}", "line 2: the statement 'include' is not supported"},
      {"{% extends 'b' %}", "the statement 'extends' is not supported"},
      {"{% call f() %}{% endcall %}", "the statement 'call' is not supported"},
      {"{% for a in [1] recursive %}{% endfor %}", "a recursive loop is not supported"},
      {"{{ s | wordwrap }}", "the filter 'wordwrap', which is not supported"},
      {"{{ s is sameas s }}", "the test 'sameas', which is not supported"},
      {"{{ s.encode() }}", "the method 'encode', which is not supported"},
      {"{{ [].append(1) }}", "the method 'append', which is not supported"},
      {"{{ f(1) }}", "line 1: calls 'f', which is no function"},
      {"{{ range(*x) }}", "unpacked arguments"},
      {"{{ {1: 2} }}", "a dict whose key is a number"},
      {"{{ a.b.c }}", "asks for 'b' of 'a', which is undefined"},
      {"{{ s + 1 }}", "a string + a number"},
      {"{{ s < 1 }}", "compares a string with a number"},
      {"{{ 1 // 0 }}", "divides by zero"},
      {"{{ 99999999999999999999 }}", "is too large"},
      {"{{ 9223372036854775807 + 1 }}", "a number too large"},
      {"{% set x.y = 1 %}", "x is no namespace"},
      {"{% break %}", "'break' outside of a loop"},
      {"{% set a, b = [1] %}", "1 values for 2 names"},
      {"{% if x %}", "wanted 'endif', found 'the end'"},
      {"{% if x %}{% endfor %}", "the statement 'endfor'"},
      {"{{ x", "a tag has no end"},
      {"{# x", "a comment has no end"},
      {"{{ 'x }}", "a string has no end"},
      {"{% raw %}x", "raw has no endraw"},
      {"{{ x ? 1 }}", "unexpected '?'"},
      {"{{ }}", "wanted a value, found '}}'"},
      {"{{ x x }}", "wanted '}}', found 'x'"},
      {"{{ '\\ud800' }}", "which is no character"},
      {"{{ raise_exception('no\nlines') }}", "refuses the conversation: no\\x0alines"},
  };
  for (const auto& [source, wanted] : cases) EXPECT_THAT(refusal(source), HasSubstr(wanted)) << source;
}

TEST(Template, EndsInTimeAndMemoryWhateverItAsks) {
  const std::string deep = std::string(5000, '(') + "1" + std::string(5000, ')') + " }}";
  const std::pair<std::string, const char*> cases[] = {
      {"{% for a in range(10000000) %}{% endfor %}", "more than 50000000 steps"},
      {"{{ 'abc' * 100000000 }}", "more than 50000000 steps"},
      {"{% set ns = namespace(s='xx') %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "steps"},
      {"{% set ns = namespace(l=[1]) %}{% for a in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
       "steps"},
      {"{% set ns = namespace(l=[]) %}{% for a in range(100) %}{% set ns.l = [ns.l] %}{% endfor %}",
       "deeper than 64 levels"},
      {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls inside each other"},
      {"{{ " + deep, "nested deeper than 200 levels"},
      {"{{ " + std::string(5000, '-') + "1 }}", "nested deeper than 200 levels"},
      {"{{ 1" + std::string(3000, '+') + "1 }}", "nested deeper than 200 levels"},
      {"{% set ns = namespace() %}{% set ns.self = ns %}", "a namespace into a namespace"},
      {"{{ [namespace()] }}", "a namespace into a list"},
      {"{{ strftime_now('" + std::string(200, 'x') + "') }}", "a format of 200 characters"},
  };
  for (const auto& [source, wanted] : cases) EXPECT_THAT(refusal(source), HasSubstr(wanted)) << source.substr(0, 100);
}

TEST(Template, KeepsLinesAndSpaces) {
  const auto rendered = [](const char* source) { return render(source, {{"x", 1}}, default_day()); };
  EXPECT_EQ(rendered("a\r\nb\rc\n"), "a\nb\nc") << "one line break at the end goes";
  EXPECT_EQ(rendered("a  {%- if x -%}  b  {%- endif -%}  c"), "abc");
  EXPECT_EQ(rendered("a\n  {% if x %}\n  b\n  {% endif %}\nc"), "a\n  b\nc");
  EXPECT_EQ(rendered("{{ x }}\nb"), "1\nb");
  EXPECT_EQ(rendered("  {# c #}\n  b"), "  b");
  EXPECT_EQ(rendered("{ {} }} %} #} {"), "{ {} }} %} #} {");
  EXPECT_EQ(rendered(""), "");
}

}  // namespace
}  // namespace kvpareto::jinja
