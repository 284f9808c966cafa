#include "eval/tasks/needle.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "eval/tasks/haystack.h"
#include "eval/tasks/synthetic.h"

namespace kvpareto {
namespace {

enum class Hay { kNoise, kProse, kNeedles };

struct Form {
  std::string_view task;
  Hay hay = Hay::kProse;
  bool uuid_keys = false, uuid_values = false;
  int keys = 1;     // different keys hidden on purpose, the asked ones first
  int values = 1;   // of each key
  int queries = 1;  // keys asked for
};

// A few words, and seven digits or a UUID a value: digits may be tokens each.
constexpr int kNumberTokens = 16, kUuidTokens = 48;

// Where every line is a needle, names are longer, so that few of a thousand lines are alike.
std::string made_up_long_name(Random& random) {
  const std::string first = made_up_name(random);
  return first + "-" + made_up_name(random);
}

struct Needle {
  std::string key, value;
  double depth = 0;
};

std::string sentence_of(const Form& form, const Needle& needle) {
  return fmt::format("One of the special magic {} for {} is: {}.", form.uuid_values ? "uuids" : "numbers", needle.key,
                     needle.value);
}

// All of different keys, or of `values` to a key; all values differ.
std::vector<Needle> draw_needles(const Form& form, int keys, double asked_depth, Random& random) {
  std::vector<Needle> needles;
  std::set<std::string> used;
  const auto fresh = [&](bool uuid, std::string (*word)(Random&)) {
    std::string made;
    do made = uuid ? made_up_uuid(random) : word(random);
    while (!used.insert(made).second);
    return made;
  };
  for (int k = 0; k < keys; ++k) {
    const std::string key = fresh(form.uuid_keys, form.hay == Hay::kNeedles ? made_up_long_name : made_up_name);
    for (int v = 0; v < form.values; ++v) {
      const double depth = needles.empty() ? asked_depth : random.uniform();
      needles.push_back({key, fresh(form.uuid_values, made_up_number), depth});
    }
  }
  return needles;
}

// A line of hay that is a needle of another key than the asked one.
std::string distractor(const Form& form, const std::string& asked, Random& random) {
  std::string key;
  do key = form.uuid_keys ? made_up_uuid(random) : made_up_long_name(random);
  while (key == asked);
  return sentence_of(form, {key, form.uuid_values ? made_up_uuid(random) : made_up_number(random)});
}

std::vector<std::string> make_hay(const Form& form, const std::string& asked, const TaskSetting& setting, int64_t count,
                                  Random& random) {
  static const std::vector<std::string> kNoise = {"The grass is green.", "The sky is blue.", "The sun is yellow.",
                                                  "Here we go.", "There and back again."};
  std::vector<std::string> hay;
  if (form.hay == Hay::kProse) {
    return setting.haystack.empty() ? write_hay(count, random) : cut_hay(setting.haystack, count, random);
  }
  for (int64_t i = 0; i < count; ++i) {
    const std::string& noise = kNoise[static_cast<size_t>(i) % kNoise.size()];
    hay.push_back(form.hay == Hay::kNoise ? noise : distractor(form, asked, random));
  }
  return hay;
}

// The first `count` sentences of the hay with every needle before the sentence at its depth.
std::string hide(const Form& form, const std::vector<std::string>& hay, int64_t count, std::vector<Needle> needles) {
  std::stable_sort(needles.begin(), needles.end(), [](const Needle& a, const Needle& b) { return a.depth < b.depth; });
  std::vector<std::string> sentences;
  size_t next = 0;
  for (int64_t i = 0; i <= count; ++i) {
    const double end = static_cast<double>(i + 1) / static_cast<double>(count + 1);
    while (next < needles.size() && (needles[next].depth < end || i == count)) {
      sentences.push_back(sentence_of(form, needles[next++]));
    }
    if (i < count) sentences.push_back(hay[static_cast<size_t>(i)]);
  }
  return join(sentences, form.hay == Hay::kProse ? " " : "\n");
}

// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& names) {
  if (names.size() == 1) return names.front();
  const std::vector<std::string> before(names.begin(), names.end() - 1);
  return join(before, ", ") + " and " + names.back();
}

Sample ask(const Form& form, const std::vector<Needle>& needles, const std::string& text) {
  const auto asked = static_cast<size_t>(form.queries * form.values);
  std::vector<std::string> keys, values;
  for (size_t i = 0; i < asked; ++i) {
    if (keys.empty() || keys.back() != needles[i].key) keys.push_back(needles[i].key);
    values.push_back(needles[i].value);
  }
  const std::string kind = form.uuid_values ? "uuid" : "number", names = listed(keys);
  Sample sample;
  sample.request = Generate{static_cast<int>(asked) * (form.uuid_values ? kUuidTokens : kNumberTokens)};
  sample.prompt = fmt::format(
      "The text below hides special magic {}s. Read it with care and keep them in mind: afterwards you will be asked "
      "for "
      "{} of them.\n\n{}\n\n",
      kind, asked == 1 ? "one" : "some", text);
  if (asked == 1) {
    sample.prompt += fmt::format("What is the special magic {} for {} mentioned in the text above?", kind, names);
    sample.answer_prefix = fmt::format("The special magic {} for {} mentioned in the text is", kind, names);
  } else {
    sample.prompt += fmt::format("What are all the special magic {}s for {} mentioned in the text above?", kind, names);
    sample.answer_prefix = fmt::format("The special magic {}s for {} mentioned in the text are", kind, names);
  }
  sample.gold = " " + join(values, ", ");
  sample.references = values;
  sample.depth = needles.front().depth;
  return sample;
}

std::vector<Sample> make_samples(const Form& form, const TaskSetting& setting) {
  return make_synthetic(setting, form.task, [&](Draw& draw) {
    const std::vector<Needle> needles = draw_needles(form, form.keys, draw.depth, draw.random);
    // Enough hay: written sentences have eight tokens or more, others at least one.
    const bool own = form.hay == Hay::kProse && setting.haystack.empty();
    const int64_t most = std::max(1, own ? draw.length / 8 : draw.length);
    const std::vector<std::string> hay = make_hay(form, needles.front().key, setting, most, draw.random);
    return fill_length(setting, draw.length, most,
                       [&](int64_t count) { return ask(form, needles, hide(form, hay, count, needles)); });
  });
}

}  // namespace

std::vector<Sample> make_needle(const TaskSetting& setting) { return make_samples({"needle"}, setting); }

std::vector<Sample> make_needle_multikey(const TaskSetting& setting) {
  return make_samples({.task = "needle_multikey", .keys = 4}, setting);
}

std::vector<Sample> make_niah_single_1(const TaskSetting& setting) {
  return make_samples({.task = "niah_single_1", .hay = Hay::kNoise}, setting);
}

std::vector<Sample> make_niah_single_3(const TaskSetting& setting) {
  return make_samples({.task = "niah_single_3", .uuid_values = true}, setting);
}

std::vector<Sample> make_niah_multikey_2(const TaskSetting& setting) {
  return make_samples({.task = "niah_multikey_2", .hay = Hay::kNeedles}, setting);
}

std::vector<Sample> make_niah_multikey_3(const TaskSetting& setting) {
  return make_samples({.task = "niah_multikey_3", .hay = Hay::kNeedles, .uuid_keys = true, .uuid_values = true},
                      setting);
}

std::vector<Sample> make_niah_multivalue(const TaskSetting& setting) {
  return make_samples({.task = "niah_multivalue", .values = 4}, setting);
}

std::vector<Sample> make_niah_multiquery(const TaskSetting& setting) {
  return make_samples({.task = "niah_multiquery", .keys = 4, .queries = 4}, setting);
}

}  // namespace kvpareto
