// Chat templates, recognised by what only they contain and rendered natively. A renderer of the Jinja language itself
// would take the place of the error at the end of find_family().
//
// To add a family: one row in kFamilies and, if its shape is new, one render function.

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace kvpareto {

namespace {

using Conversation = std::span<const Message>;

bool begins_with_system(Conversation messages) { return !messages.empty() && messages[0].role == "system"; }

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// The text that stands in `source` after `before` and up to `after`, at the first place where it is not empty and has
// none of `without`, so that it is a literal and not an expression. Empty if there is none.
std::string_view literal(std::string_view source, std::string_view before, std::string_view after,
                         std::string_view without) {
  for (size_t begin = source.find(before); begin != source.npos; begin = source.find(before, begin)) {
    begin += before.size();
    const std::string_view found = source.substr(begin, source.find(after, begin) - begin);
    if (!found.empty() && found.find_first_of(without) == found.npos) return found;
  }
  return {};
}

// Some model files keep "\n" of Jinja's strings as two characters, others have had it turned into a line break.
std::string with_line_breaks(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    const bool is_escape = source.substr(i, 2) == "\\n";
    text.push_back(is_escape ? '\n' : source[i]);
    if (is_escape) ++i;
  }
  return text;
}

std::string chatml_turn(std::string_view role, std::string_view content) {
  return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
}

std::string render_chatml(std::string_view, Conversation messages) {
  std::string text;
  for (const Message& message : messages) text += chatml_turn(message.role, message.content);
  return text + "<|im_start|>assistant\n";
}

// A conversation without a system message gets the template's own.
std::string render_chatml_with_system(std::string_view source, Conversation messages) {
  if (begins_with_system(messages)) return render_chatml(source, messages);
  const std::string_view system = literal(source, "<|im_start|>system\n", "<|im_end|>", "'\"{}");
  return chatml_turn("system", system) + render_chatml(source, messages);
}

// SmolLM2's template asks for the first message inside its loop: of no messages it makes no system message either.
std::string render_smollm2(std::string_view source, Conversation messages) {
  return messages.empty() ? render_chatml(source, messages) : render_chatml_with_system(source, messages);
}

std::string llama3_turn(std::string_view role, std::string_view content) {
  return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", role, trim(content));
}

constexpr std::string_view kLlama3Answer = "<|start_header_id|>assistant<|end_header_id|>\n\n";

std::string render_llama3(std::string_view, Conversation messages) {
  std::string text = messages.empty() ? "" : "<|begin_of_text|>";
  for (const Message& message : messages) text += llama3_turn(message.role, message.content);
  return text.append(kLlama3Answer);
}

// From 3.1 on there always is a system message, which begins with two dates. 3.2 would put today's date; like its own
// template where there is no clock, this takes the one that the template holds, so that a rendering repeats.
std::string render_llama31(std::string_view source, Conversation messages) {
  const std::string_view today = literal(source, "set date_string = \"", "\"", "{}");
  std::string system = fmt::format("Cutting Knowledge Date: December 2023\nToday Date: {}\n\n", today);
  if (begins_with_system(messages)) {
    system += trim(messages[0].content);
    messages = messages.subspan(1);
  }
  // Not llama3_turn(): this template trims what the user wrote, not the empty lines under its dates.
  std::string text = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" + system + "<|eot_id|>";
  for (const Message& message : messages) text += llama3_turn(message.role, message.content);
  return text.append(kLlama3Answer);
}

struct ChatFamily {
  const char* name;
  std::vector<std::string_view> has, lacks;  // parts of the template's source, with real line breaks
  std::string (*render)(std::string_view source, Conversation messages);
};

// First match counts. What a row lacks keeps out relatives that do more: Qwen3 drops earlier thoughts from the history.
const std::vector<ChatFamily>& families() {
  static const std::vector<ChatFamily> table = {
      {"SmolLM2",
       {"<|im_start|>system", "loop.first and messages[0]['role'] != 'system'"},
       {"<think>", "trim", "tools"},
       render_smollm2},
      {"Qwen2.5",
       {"<|im_start|>system", "messages[0]['content']", "message.role == \"system\" and not loop.first"},
       {"<think>", "trim", "image"},
       render_chatml_with_system},
      {"ChatML", {"<|im_start|>", "<|im_end|>"}, {"system", "<think>", "trim", "tools", "image"}, render_chatml},
      {"Llama-3.1",
       {"{{- bos_token }}", "{{- \"<|start_header_id|>system<|end_header_id|>\n\n\" }}",
        "Cutting Knowledge Date: December 2023", "set date_string = \"", "<|end_header_id|>\n\n'",
        "| trim + '<|eot_id|>'"},
       {"if system_message", "image"},
       render_llama31},
      {"Llama-3",
       {"bos_token + content", "<|start_header_id|>", "<|end_header_id|>\n\n'", "| trim + '<|eot_id|>'"},
       {"Cutting", "tools", "image"},
       render_llama3},
  };
  return table;
}

const ChatFamily& find_family(std::string_view source) {
  std::vector<std::string> known;
  for (const ChatFamily& family : families()) {
    const auto in_source = [&](std::string_view part) { return contains(source, part); };
    if (std::all_of(family.has.begin(), family.has.end(), in_source) &&
        std::none_of(family.lacks.begin(), family.lacks.end(), in_source)) {
      return family;
    }
    known.emplace_back(family.name);
  }
  fail("the model's chat template is of no known family; known are {}", join(known, ", "));
}

void check_roles(Conversation messages) {
  static const std::vector<std::string> kRoles = {"system", "user", "assistant"};
  for (const Message& message : messages) {
    if (std::find(kRoles.begin(), kRoles.end(), message.role) != kRoles.end()) continue;
    fail("a chat message has the role '{}'; known are {} (nearest: {})", shown(message.role), join(kRoles, ", "),
         nearest(std::string_view(message.role).substr(0, 100), kRoles));
  }
}

}  // namespace

std::string render_chat(std::string_view chat_template, std::span<const Message> messages) {
  check_roles(messages);
  if (!chat_template.empty()) {
    const std::string source = with_line_breaks(chat_template);
    return find_family(source).render(source, messages);
  }
  std::string text;
  for (const Message& message : messages) text += message.content;
  return text;
}

}  // namespace kvpareto
